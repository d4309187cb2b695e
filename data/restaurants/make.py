"""Makes the sentences about four invented restaurants, in the form of the E2E NLG challenge.

Run it in its folder to make the three files again: python3 make.py
"""

import csv
import random

NAMES = ["The Copper Kettle", "Blue Lantern", "Willow House", "Harbour Table"]
SLOTS = {
    "eatType": ["restaurant", "pub", "coffee shop"],
    "food": ["Italian", "Indian", "French", "Japanese", "English"],
    "priceRange": ["cheap", "moderate", "high"],
    "customer rating": ["low", "average", "high"],
    "area": ["riverside", "city centre"],
    "familyFriendly": ["yes", "no"],
    "near": ["Old Mill", "Rose Theatre", "Station Square"],
}
# Prompts of each split, with two sentences each; no prompt is in two splits.
SPLITS = {"trainset.csv": 320, "devset.csv": 40, "testset_w_refs.csv": 40}


def place(mr):
    """What it is, and what is served there: `a cheap Italian pub`."""
    words = {"cheap": "cheap", "moderate": "moderately priced", "high": "high-priced"}
    parts = [words.get(mr.get("priceRange"), ""), mr.get("food", ""), mr.get("eatType", "place")]
    words = " ".join(part for part in parts if part)
    return ("an " if words[0].lower() in "aeiou" else "a ") + words


def where(mr):
    """Where it is: ` by the riverside, near Old Mill`."""
    area = {"riverside": " by the riverside", "city centre": " in the city centre"}
    return area.get(mr.get("area"), "") + (f" near {mr['near']}" if "near" in mr else "")


def friendly(mr, yes, no):
    """What is said of children."""
    return {"yes": yes, "no": no}.get(mr.get("familyFriendly"), "")


def plain(mr):
    """One or two sentences that begin with the name."""
    text = f"{mr['name']} is {place(mr)}{where(mr)}."
    rating = mr.get("customer rating")
    if rating and "familyFriendly" in mr:
        said = friendly(mr, "welcomes families", "is not for families")
        return f"{text} It has {article(rating)} customer rating and {said}."
    if rating:
        return f"{text} Its customer rating is {rating}."
    return text + friendly(mr, " It welcomes families.", " It is not for families.")


def inverted(mr):
    """A sentence that ends with the name."""
    said = friendly(mr, "family-friendly ", "adults-only ")
    rated = mr.get("customer rating")
    rated = f" with {article(rated)} customer rating" if rated else ""
    words = place(mr).split(" ", 1)[1]
    article_ = "an" if (said + words)[0].lower() in "aeiou" else "a"
    there = where(mr).strip()
    if there:
        return f"{there[0].upper()}{there[1:]} there is {article_} {said}{words}{rated} called {mr['name']}."
    return f"There is {article_} {said}{words}{rated} called {mr['name']}."


def article(rating):
    """`an average`, `a low`."""
    return f"an {rating}" if rating[0] in "aeiou" else f"a {rating}"


def main():
    """Writes the files."""
    draw = random.Random(1)
    seen = set()
    for file, prompts in SPLITS.items():
        with open(file, "w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(["mr", "ref"])
            while prompts:
                chosen = sorted(draw.sample(range(len(SLOTS)), draw.randint(2, 5)))
                names = [list(SLOTS)[at] for at in chosen]
                mr = {"name": NAMES[prompts % 4]} | {slot: draw.choice(SLOTS[slot]) for slot in names}
                text = ", ".join(f"{slot}[{value}]" for slot, value in mr.items())
                if text not in seen:
                    seen.add(text)
                    prompts -= 1
                    writer.writerow([text, plain(mr)])
                    writer.writerow([text, inverted(mr)])


if __name__ == "__main__":
    main()
