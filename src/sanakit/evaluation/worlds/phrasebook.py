"""Short phrases of nine languages, as people write them: articles, plurals, colours, numbers.

They were written for this measurement and not taken from a bank, whose names the reading of prompts knows.
"""

from __future__ import annotations

from collections.abc import Mapping

from sanakit.worlds.sampling.worded_scenes import Words

# What the phrases of every language say, in this order.
MEANINGS = (
    Words(names=("dog",)),
    Words(names=("cat",), colour="black"),
    Words(names=("apple",), colour="red"),
    Words(names=("tree",), count=2),
    Words(names=("fish",), count=4),
    Words(names=("key",), count=3),
    Words(names=("book",), colour="blue"),
    Words(names=("umbrella",)),
    Words(names=("heart",), colour="red"),
    Words(names=("star",), colour="yellow", count=2),
    Words(names=("pig",), colour="pink"),
    Words(names=("clock",)),
    Words(names=("lemon",), count=2),
    Words(names=("car",), colour="red", count=2),
    Words(names=("house",)),
    Words(names=("cup",), colour="white"),
    Words(names=("bird",), count=2),
    Words(names=("rabbit",), colour="white"),
    Words(names=("flower",), colour="yellow"),
    Words(names=("ball",), colour="purple"),
)

PHRASES: Mapping[str, tuple[str, ...]] = {
    "Chinese": (
        "一只狗", "一只黑色的猫", "一个红苹果", "两棵树", "四条鱼", "三把钥匙", "一本蓝色的书", "一把雨伞",
        "一颗红心", "两颗黄色的星星", "一头粉色的猪", "一个时钟", "两个柠檬", "两辆红色的汽车", "一座房子",
        "一个白色的杯子", "两只鸟", "一只白兔", "一朵黄花", "一个紫色的球",
    ),
    "German": (
        "ein Hund", "eine schwarze Katze", "ein roter Apfel", "zwei Bäume", "vier Fische", "drei Schlüssel",
        "ein blaues Buch", "ein Regenschirm", "ein rotes Herz", "zwei gelbe Sterne", "ein rosa Schwein", "eine Uhr",
        "zwei Zitronen", "zwei rote Autos", "ein Haus", "eine weiße Tasse", "zwei Vögel", "ein weißes Kaninchen",
        "eine gelbe Blume", "ein lila Ball",
    ),
    "Spanish": (
        "un perro", "un gato negro", "una manzana roja", "dos árboles", "cuatro peces", "tres llaves",
        "un libro azul", "un paraguas", "un corazón rojo", "dos estrellas amarillas", "un cerdo rosa", "un reloj",
        "dos limones", "dos coches rojos", "una casa", "una taza blanca", "dos pájaros", "un conejo blanco",
        "una flor amarilla", "una pelota morada",
    ),
    "French": (
        "un chien", "un chat noir", "une pomme rouge", "deux arbres", "quatre poissons", "trois clés",
        "un livre bleu", "un parapluie", "un cœur rouge", "deux étoiles jaunes", "un cochon rose", "une horloge",
        "deux citrons", "deux voitures rouges", "une maison", "une tasse blanche", "deux oiseaux", "un lapin blanc",
        "une fleur jaune", "une balle violette",
    ),
    "Japanese": (
        "犬", "黒い猫", "赤いりんご", "二本の木", "四匹の魚", "三本の鍵", "青い本", "傘", "赤いハート",
        "二つの黄色い星", "ピンクの豚", "時計", "二つのレモン", "二台の赤い車", "家", "白いカップ", "二羽の鳥",
        "白いうさぎ", "黄色い花", "紫のボール",
    ),
    "Portuguese": (
        "um cachorro", "um gato preto", "uma maçã vermelha", "duas árvores", "quatro peixes", "três chaves",
        "um livro azul", "um guarda-chuva", "um coração vermelho", "duas estrelas amarelas", "um porco rosa",
        "um relógio", "dois limões", "dois carros vermelhos", "uma casa", "uma xícara branca", "dois pássaros",
        "um coelho branco", "uma flor amarela", "uma bola roxa",
    ),
    "Italian": (
        "un cane", "un gatto nero", "una mela rossa", "due alberi", "quattro pesci", "tre chiavi", "un libro blu",
        "un ombrello", "un cuore rosso", "due stelle gialle", "un maiale rosa", "un orologio", "due limoni",
        "due auto rosse", "una casa", "una tazza bianca", "due uccelli", "un coniglio bianco", "un fiore giallo",
        "una palla viola",
    ),
    "Russian": (
        "собака", "чёрная кошка", "красное яблоко", "два дерева", "четыре рыбы", "три ключа", "синяя книга", "зонт",
        "красное сердце", "две жёлтые звезды", "розовая свинья", "часы", "два лимона", "две красные машины", "дом",
        "белая чашка", "две птицы", "белый кролик", "жёлтый цветок", "фиолетовый мяч",
    ),
    "Korean": (
        "개 한 마리", "검은 고양이", "빨간 사과", "나무 두 그루", "물고기 네 마리", "열쇠 세 개", "파란 책", "우산",
        "빨간 하트", "노란 별 두 개", "분홍색 돼지", "시계", "레몬 두 개", "빨간 자동차 두 대", "집", "하얀 컵",
        "새 두 마리", "하얀 토끼", "노란 꽃", "보라색 공",
    ),
}  # fmt: skip
