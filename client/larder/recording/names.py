"""Names for runs that nobody has named."""

_FIRST = ("amber", "brisk", "calm", "crisp", "dusty", "early", "fair", "fresh", "gentle", "golden", "hidden", "keen",
          "late", "light", "lively", "mellow", "merry", "mild", "noble", "plain", "proud", "quick", "quiet", "rapid",
          "ripe", "salty", "sharp", "silver", "spicy", "steady", "sunny", "sweet")  # fmt: skip
_SECOND = ("almond", "apple", "barley", "basil", "bean", "berry", "bread", "cherry", "clove", "cocoa", "fennel", "fig",
           "ginger", "grape", "hazel", "honey", "lemon", "lentil", "maple", "mint", "nutmeg", "oat", "olive", "orange",
           "peach", "pear", "pepper", "plum", "quince", "rye", "sage", "thyme")  # fmt: skip


def name(run: str) -> str:
    """A name that can be spoken, the same in every process of a run."""
    number = int(run.replace("-", "")[-8:], 16)
    return f"{_FIRST[number % 32]}-{_SECOND[number // 32 % 32]}-{number // 1024 % 1000}"
