"""Makes requests.csv: what customers of four invented shops write to them, by topic.

Run it in its folder to make the file again: python3 make.py
"""

import csv
import itertools
import random

SHOPS = ["books", "bikes", "garden", "kitchen"]

# What the shops sell, in the languages that are used below.
GOODS = {
    "books": {
        "en": ["atlas", "cookery book", "novel", "calendar"],
        "de": ["Atlas", "Kalender", "Roman"],
        "fr": ["roman", "calendrier", "livre de cuisine"],
        "es": ["atlas", "calendario", "libro de cocina"],
    },
    "bikes": {
        "en": ["helmet", "bike lamp", "saddle", "tyre"],
        "de": ["Helm", "Sattel", "Reifen"],
        "fr": ["casque", "pneu", "porte-bagages"],
        "es": ["casco", "faro", "portaequipajes"],
    },
    "garden": {
        "en": ["rake", "flower pot", "hedge trimmer", "garden hose"],
        "de": ["Blumentopf", "Rechen", "Schlauch"],
        "fr": ["râteau", "pot de fleurs", "tuyau"],
        "es": ["rastrillo", "cortasetos", "tiesto"],
    },
    "kitchen": {
        "en": ["frying pan", "kettle", "bread knife", "toaster"],
        "de": ["Wasserkocher", "Toaster", "Topf"],
        "fr": ["grille-pain", "couteau", "moulin à café"],
        "es": ["tostador", "cuchillo", "hervidor"],
    },
}

# A request has an opening and an end of its topic, in every combination.
TOPICS = {
    "delivery": {
        "en": (
            [
                "My {item} has still not arrived",
                "The parcel with the {item} is late",
                "I have been waiting for the {item} for two weeks",
                "The courier left my {item} with a neighbour I don't know",
            ],
            [
                ", where is it now?",
                "; the tracking page has not changed for days.",
                ". When will it be delivered?",
                ", can you send me the tracking number?",
            ],
        ),
        "de": (
            ["Der {item} ist noch nicht angekommen", "Mein Paket mit dem {item} kommt nicht"],
            [", wo bleibt die Lieferung?", ". Wann wird es zugestellt?"],
        ),
        "fr": (
            ["Mon {item} n'est toujours pas arrivé", "J'attends le {item} depuis deux semaines"],
            [", où est le colis ?", ". Quand sera-t-il livré ?"],
        ),
        "es": (
            ["Mi {item} todavía no ha llegado", "Llevo dos semanas esperando el {item}"],
            [", ¿dónde está el paquete?", ". ¿Cuándo lo entregarán?"],
        ),
    },
    "billing": {
        "en": (
            [
                "I was charged twice for the {item}",
                "The invoice for my {item} shows the wrong amount",
                "My card was debited for a {item} that I cancelled",
                "The discount code was not taken off the price of the {item}",
            ],
            [
                ", please correct it.",
                ". Can I have a new invoice?",
                "; my bank shows both payments.",
                ". When do I get the money back?",
            ],
        ),
        "de": (
            ["Der {item} wurde doppelt abgebucht", "Die Rechnung für den {item} ist falsch"],
            [", bitte korrigieren Sie das.", ". Ich brauche eine neue Rechnung."],
        ),
        "fr": (
            ["On m'a débité deux fois pour le {item}", "La facture du {item} est fausse"],
            [", merci de la corriger.", ". Quand serai-je remboursé ?"],
        ),
        "es": (
            ["Me han cobrado dos veces el {item}", "La factura del {item} está mal"],
            [", corríjanla por favor.", ". ¿Cuándo me devuelven el dinero?"],
        ),
    },
    "returns": {
        "en": (
            [
                "The {item} is not what I expected and I want to send it back",
                "I would like to return the {item}",
                "The {item} came broken",
                "I ordered the wrong {item}",
            ],
            [
                ", how do I get a return label?",
                "; can I exchange it for another one?",
                ". Do I have to pay for the return?",
                ". It is still in its box.",
            ],
        ),
        "de": (
            ["Ich möchte den {item} zurückgeben", "Der {item} ist kaputt angekommen"],
            [", wie bekomme ich ein Rücksendeetikett?", ". Kann ich ihn umtauschen?"],
        ),
        "fr": (
            ["Je voudrais renvoyer le {item}", "Le {item} est arrivé cassé"],
            [", comment faire le retour ?", ". Puis-je l'échanger ?"],
        ),
        "es": (
            ["Quiero devolver el {item}", "El {item} ha llegado roto"],
            [", ¿cómo hago la devolución?", ". ¿Puedo cambiarlo por otro?"],
        ),
    },
    "account": {
        "en": (
            [
                "I cannot log in to look at my order of the {item}",
                "I forgot my password and the {item} is in my basket",
                "The page says my e-mail address is unknown, though I bought a {item} last year",
            ],
            [
                ", please reset my password.",
                "; the link in your mail does not work.",
                ". How can I change my user name?",
            ],
        ),
        "de": (
            ["Ich kann mich nicht anmelden, um den {item} zu bestellen"],
            [", bitte setzen Sie mein Passwort zurück.", ". Der Link in der Mail geht nicht."],
        ),
        "fr": (
            ["Je n'arrive pas à me connecter pour commander le {item}"],
            [", j'ai oublié mon mot de passe.", ". Le lien de votre message ne marche pas."],
        ),
        "es": (
            ["No puedo entrar en mi cuenta para pedir el {item}"],
            [", he olvidado la contraseña.", ". El enlace del correo no funciona."],
        ),
    },
}
# Requests of a topic to a shop: in English, and in each other language. Few write about their
# account.
NUMBERS = {"delivery": 15, "billing": 12, "returns": 12, "account": 5}
OTHERS = {"delivery": 3, "billing": 2, "returns": 2, "account": 1}


def requests(rng, shop, topic):
    """The requests of a topic to a shop; no text is there twice."""
    for language, (openings, ends) in TOPICS[topic].items():
        goods = GOODS[shop][language]
        texts = [
            opening.format(item=item) + end
            for opening, end, item in itertools.product(openings, ends, goods)
        ]
        number = NUMBERS[topic] if language == "en" else OTHERS[topic]
        for text in rng.sample(texts, number):
            yield {"shop": shop, "language": language, "text": text, "topic": topic}


def main():
    rng = random.Random(1)
    rows = [
        row for shop in SHOPS for topic in TOPICS for row in requests(rng, shop, topic)
    ]
    rng.shuffle(rows)
    with open("requests.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "shop", "language", "text", "topic"], lineterminator="\n")
        writer.writeheader()
        for number, row in enumerate(rows, 1):
            writer.writerow({"id": f"R-{number:03}", **row})


if __name__ == "__main__":
    main()
