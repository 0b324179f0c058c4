"""ImageNet's words → what a person would say: groups of classes, and better names for some.

In: class names as in torchvision's ImageNet-1k categories. Out: noun phrases and the groups a class belongs to. A group
speaks when no single class is sure: five half-likely birds are a bird.
"""

# ImageNet-1k orders living things by kind; the ranges are positions in its list of classes, ends excluded.
LIVING: dict[str, tuple[tuple[int, int], ...]] = {
    "fish": ((0, 7), (389, 398)),
    "bird": ((7, 25), (80, 101), (127, 147)),
    "amphibian": ((25, 33),),
    "reptile": ((33, 69),),
    "insect or spider": ((69, 80), (300, 327)),
    "sea creature": ((107, 127), (327, 330)),
    "sea mammal": ((147, 151),),
    "dog": ((151, 276),),
    "cat": ((281, 294),),
    "bear": ((294, 298), (387, 389)),
    "small furry animal": ((298, 300), (330, 339), (356, 365), (102, 107)),
    "hoofed animal": ((339, 356),),
    "monkey": ((365, 385),),
    "elephant": ((101, 102), (385, 387)),
}
ANIMALS = (0, 398)

VEHICLES = frozenset(
    "ambulance|beach wagon|bicycle-built-for-two|cab|convertible|fire engine|freight car|garbage truck|go-kart|half track|"
    "jeep|jinrikisha|limousine|minibus|minivan|Model T|moped|motor scooter|mountain bike|moving van|passenger car|pickup|"
    "police van|racer|recreational vehicle|school bus|sports car|streetcar|tow truck|tractor|trailer truck|tricycle|"
    "trolleybus|unicycle|car mirror|car wheel|grille|seat belt|airliner|warplane|airship|speedboat|canoe|gondola|catamaran|"
    "trimaran|yawl|schooner|container ship|fireboat|lifeboat|bullet train|steam locomotive|electric locomotive".split(
        "|"
    )
)
STREET = frozenset(
    "ambulance|beach wagon|bicycle-built-for-two|cab|convertible|fire engine|garbage truck|jeep|jinrikisha|limousine|"
    "minibus|minivan|Model T|moped|motor scooter|mountain bike|moving van|parking meter|pay-phone|pickup|police van|"
    "school bus|sports car|street sign|streetcar|tow truck|traffic light|trailer truck|trolleybus|turnstile|unicycle|"
    "manhole cover|mailbox|crosswalk|ashcan|racer|car mirror".split("|")
)
CLOTHING = frozenset(
    "abaya|academic gown|apron|bathing cap|bearskin|bikini|bonnet|bow tie|cardigan|cloak|cowboy hat|crash helmet|"
    "football helmet|fur coat|gown|hoopskirt|jean|jersey|kimono|lab coat|maillot|mask|military uniform|miniskirt|"
    "mortarboard|neck brace|overskirt|oxygen mask|pajama|poncho|sarong|shower cap|ski mask|sombrero|stole|suit|"
    "sunglass|sunglasses|sweatshirt|swimming trunks|trench coat|wig|Windsor tie".split("|")
)
BUILDINGS = frozenset(
    "barn|beacon|bell cote|boathouse|castle|church|cinema|dam|dome|fountain|greenhouse|lumbermill|megalith|monastery|"
    "mosque|obelisk|palace|patio|pier|planetarium|prison|steel arch bridge|stupa|suspension bridge|thatch|"
    "tile roof|triumphal arch|viaduct|water tower|bannister|picket fence|worm fence|chainlink fence".split("|")
)
INDOORS = frozenset(
    "bathtub|bookcase|bookshop|china cabinet|couch|cradle|crib|desk|dining table|entertainment center|file|folding chair|"
    "four-poster|home theater|library|medicine chest|microwave|monitor|refrigerator|rocking chair|screen|shoji|"
    "shower curtain|sliding door|stove|studio couch|table lamp|television|throne|toilet seat|tub|wardrobe|washbasin|"
    "window screen|window shade|restaurant|grocery store|barbershop|butcher shop|toyshop|shoe shop|seat belt".split("|")
)
SCREEN = frozenset(("web site", "screen", "monitor", "television", "menu", "scoreboard"))
LANDSCAPES = {
    "alp": "in the mountains",
    "cliff": "by a cliff",
    "coral reef": "in a coral reef",
    "geyser": "by a geyser",
    "lakeside": "at a lakeside",
    "promontory": "on a rocky coast",
    "sandbar": "on a sandbar",
    "seashore": "at the seashore",
    "valley": "in a valley",
    "volcano": "by a volcano",
}

_PHRASES = {
    "Windsor tie": "a tie",
    "bannister": "a railing",
    "cab": "a taxi",
    "car mirror": "a car mirror",
    "ice bear": "a polar bear",
    "jean": "jeans",
    "jinrikisha": "a rickshaw",
    "maillot": "a swimsuit",
    "pajama": "pajamas",
    "sunglass": "sunglasses",
    "sunglasses": "sunglasses",
    "swimming trunks": "swimming trunks",
    "web site": "a web page",
    "worm fence": "a wooden fence",
    "chainlink fence": "a chain-link fence",
    "racer": "a race car",
    "ashcan": "a trash can",
}
_SOUNDED_LIKE_CONSONANT = ("uni", "eu", "one", "use")


def phrase(name: str) -> str:
    """An ImageNet class as a noun phrase: `sulphur-crested cockatoo` → `a sulphur-crested cockatoo`."""
    return _PHRASES.get(name) or f"{article(name)} {name}"


def article(noun: str) -> str:
    """a or an, by sound as far as spelling tells it."""
    word = noun.lower()
    vowel = word[0] in "aeiou" and not word.startswith(_SOUNDED_LIKE_CONSONANT)
    return "an" if vowel else "a"


def living_group(index: int) -> str | None:
    """The group of living things that a class belongs to, by its position in the list of classes."""
    for group, ranges in LIVING.items():
        if any(start <= index < end for start, end in ranges):
            return group
    return None
