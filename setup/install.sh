# Installs the program: install.sh PROGRAM DESTDIR PREFIX.
#
# libtorch, of half a gigabyte and more, stays where it is: PREFIX/lib/regatta/libtorch leads there,
# and is the first place where an installed program looks. So does nats-server.
set -eu
program=$1
case $3 in
/*) prefix=$3 ;;
*) prefix=$PWD/$3 ;;
esac
destination=$2$prefix

libtorch=$(readlink -f third_party/libtorch)
mkdir -p "$destination/bin" "$destination/lib/regatta"
# In one step, for the program may be running.
cp "$program" "$destination/bin/.regatta.new"
mv -f "$destination/bin/.regatta.new" "$destination/bin/regatta"
ln -sfn "$libtorch" "$destination/lib/regatta/libtorch"
# The message broker, where it was fetched.
if [ -x third_party/nats-server/nats-server ]; then
    ln -sfn "$PWD/third_party/nats-server/nats-server" "$destination/lib/regatta/nats-server"
fi

completions() {
    mkdir -p "$destination/share/$2"
    "$program" completions "$1" >"$destination/share/$2/$3"
}
completions bash bash-completion/completions regatta
completions zsh zsh/site-functions _regatta
completions fish fish/vendor_completions.d regatta.fish
"$program" man --out "$destination/share/man/man1"

echo "installed: $destination/bin/regatta, with libtorch in $libtorch"
case ":$PATH:" in
*":$prefix/bin:"*) ;;
*) echo "$prefix/bin is not in PATH" ;;
esac
