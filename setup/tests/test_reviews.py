import io
import tarfile
from pathlib import Path

from setup import reviews
from setup.reviews import Example

from .folder import FolderTest


def archive_of(files):
    """A gzipped tar archive of {path: bytes}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def numbered(count):
    return [Example(f"sentence {i}", i % 2, "movies") for i in range(count)]


class ReviewsTest(FolderTest):
    def test_only_a_clear_sentiment_becomes_an_example(self):
        lines = "1\t0.51\tgood\r\n2\t0.5\tfine\r\n3\t-0.5\tso so\r\n4\t-0.51\tbad\r\n"
        self.assertEqual(
            list(reviews.examples("news", lines)),
            [Example("good", 1, "news"), Example("bad", 0, "news")],
        )

    def test_white_space_and_entities_are_cleaned(self):
        self.assertEqual(reviews.clean(" salt\t&amp;  pepper \r\n"), "salt & pepper")
        self.assertEqual(list(reviews.examples("news", "1\t2.0\t \t \n")), [])

    def test_the_first_of_equal_sentences_stays(self):
        rows = [Example("Wow", 1, "movies"), Example("no", 0, "news"), Example("wow", 0, "tweets")]
        self.assertCountEqual(reviews.distinct(rows), rows[:2])

    def test_the_order_does_not_depend_on_the_input_s(self):
        rows = numbered(50)
        self.assertEqual(reviews.distinct(rows), reviews.distinct(reversed(rows)))
        self.assertNotEqual(reviews.distinct(rows), rows)

    def test_the_split_is_of_the_stated_share_and_stays_when_sentences_are_added(self):
        train, dev = reviews.split(numbered(2000))
        self.assertCountEqual(train + dev, numbered(2000))
        self.assertAlmostEqual(len(dev) / 2000, 1 / reviews.DEV_SHARE, delta=0.02)
        more_train, more_dev = reviews.split(numbered(3000))
        self.assertEqual(more_train[: len(train)], train)
        self.assertEqual(more_dev[: len(dev)], dev)

    def test_the_archive_becomes_tables_in_glue_s_layout(self):
        ratings = {
            f"inner/{file}": "".join(f"{i}\t2.5\t{d} {i}\r\n" for i in range(40)).encode()
            for d, file in reviews.DOMAINS.items()
        }
        source = {
            "outer/LICENSE.txt": b"licence",
            "outer/more/hutto_ICWSM_2014.tar.gz": archive_of(ratings),
        }
        Path("source.tar.gz").write_bytes(archive_of(source))
        Path("out").mkdir()
        reviews.write(Path("source.tar.gz"), Path("out"))
        rows = []
        for name in ("train", "dev"):
            lines = Path(f"out/SST-2/{name}.tsv").read_text(encoding="utf-8").splitlines()
            self.assertEqual(lines[0], "sentence\tlabel\tdomain")
            self.assertGreater(len(lines), 1)
            rows += lines[1:]
        wanted = [f"{d} {i}\t1\t{d}" for d in reviews.DOMAINS for i in range(40)]
        self.assertCountEqual(rows, wanted)
        self.assertEqual(Path("out/LICENSE.txt").read_bytes(), b"licence")
