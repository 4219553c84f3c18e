"""What the shop sells. Plain values: the demo is about the events, so nothing here is in a database."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATEGORIES", "CURRENCY", "PRODUCTS", "Category", "Product", "find", "money"]

CURRENCY = "EUR"


@dataclass(frozen=True, slots=True)
class Category:
    """One shelf of the shop; `slug` also names its picture in `art.svg`."""

    slug: str
    name: str
    line: str

    @property
    def products(self) -> list[Product]:
        """List what lies on this shelf, in the catalogue's order."""
        return [product for product in PRODUCTS.values() if product.category is self]


@dataclass(frozen=True, slots=True)
class Product:
    """One thing to buy; `cents` is its price in euro cents, `tint` the hue of its picture in degrees."""

    slug: str
    name: str
    category: Category
    cents: int
    line: str
    tint: int

    @property
    def price(self) -> str:
        """Write the price as people read it."""
        return money(self.cents)


def money(cents: int) -> str:
    """Write an amount of euro cents as people read it."""
    return f"€{cents // 100}.{cents % 100:02d}"


def find(words: str) -> list[Product]:
    """List the products in which every one of the words occurs, whatever its case."""
    wanted = words.lower().split()
    if not wanted:
        return []
    return [
        product
        for product in PRODUCTS.values()
        if all(word in f"{product.name} {product.line} {product.category.name}".lower() for word in wanted)
    ]


_TEA = Category("tea", "Tea", "Leaves for slow mornings and long evenings.")
_PAPER = Category("paper", "Paper", "Notebooks, cards and pens that like each other.")
_LIGHT = Category("light", "Light", "Small lamps for the corner that needs one.")
_GREEN = Category("green", "Green", "Plants that forgive, and what they live in.")

CATEGORIES = {category.slug: category for category in (_TEA, _PAPER, _LIGHT, _GREEN)}

_ALL = (
    Product("first-flush", "First Flush", _TEA, 1290, "Spring black tea, light and floral.", 38),
    Product("smoke-and-pine", "Smoke & Pine", _TEA, 980, "Black tea dried over a pine fire.", 18),
    Product("green-rice", "Green with Rice", _TEA, 850, "Green tea with toasted rice.", 92),
    Product("night-mint", "Night Mint", _TEA, 640, "Peppermint and nothing else.", 158),
    Product("red-bush", "Red Bush", _TEA, 590, "Rooibos for those who sleep early.", 8),
    Product("clay-pot", "Clay Pot", _TEA, 3400, "A small pot for one and a half cups.", 24),
    Product("pocket-notebook", "Pocket Notebook", _PAPER, 750, "Sewn, dotted, 96 pages of thick paper.", 212),
    Product("ledger", "Ledger", _PAPER, 1850, "For those who write everything down, once.", 228),
    Product("post-cards", "Post Cards", _PAPER, 900, "Ten blank cards of heavy paper.", 345),
    Product("fountain-pen", "Fountain Pen", _PAPER, 2900, "A light pen with a fine steel nib.", 262),
    Product("blue-ink", "Blue Ink", _PAPER, 1100, "A bottle of washable ink.", 205),
    Product("wrapping-paper", "Wrapping Paper", _PAPER, 480, "Three sheets, printed by hand.", 320),
    Product("desk-lamp", "Desk Lamp", _LIGHT, 5900, "A round head on a long neck, warm light.", 45),
    Product("clip-light", "Clip Light", _LIGHT, 2200, "Holds on to books and shelves.", 52),
    Product("paper-lantern", "Paper Lantern", _LIGHT, 1600, "A lantern of folded paper.", 30),
    Product("bee-candle", "Bee Candle", _LIGHT, 1250, "Wax, a wick, forty hours.", 40),
    Product("string-lights", "String Lights", _LIGHT, 1900, "Five metres of small lights.", 48),
    Product("torch", "Torch", _LIGHT, 1400, "For the cellar, and for looking under beds.", 60),
    Product("fern", "Fern", _GREEN, 1500, "Likes shade and a little rain.", 130),
    Product("spider-plant", "Spider Plant", _GREEN, 1200, "Forgives holidays. Has many children.", 110),
    Product("string-of-hearts", "String of Hearts", _GREEN, 1750, "Hangs down from high shelves.", 150),
    Product("aloe", "Aloe", _GREEN, 1350, "Wants sun and to be left alone.", 142),
    Product("terracotta-pot", "Terracotta Pot", _GREEN, 890, "Fourteen centimetres, with a saucer.", 16),
    Product("watering-can", "Watering Can", _GREEN, 2400, "One litre, a long spout.", 190),
)

PRODUCTS = {product.slug: product for product in _ALL}
