"""The second set: 15 questions about another folder, held out. Frozen; see the package."""

from benchmarks.questions.key import NO, Question

FILES = {
    "index.txt": "The club's papers.\nThe chair is Ruben Aalto, the treasurer is Mina Sol.\n",
    "members/2023.csv": "name,joined\nOona,2019\nPiet,2021\nRosa,2023\n",
    "members/2024.csv": "name,joined\nOona,2019\nRosa,2023\nSami,2024\nTove,2024\n",
    "minutes/march.md": "# March\n\nThe boat house gets a new roof. It costs 6,200 euros.\nThe vote was 14 to 3.\n",
    "minutes/april.md": "# April\n\nThe regatta is on 17 August.\nNobody objected.\n",
    "rules.txt": (
        "1. Life jackets are worn on the water.\n2. Boats are cleaned after use.\n3. The slipway closes at 21:00.\n"
        "4. Dogs stay on land.\n"
    ),
    "boats.yaml": "- name: Heron\n  seats: 4\n- name: Otter\n  seats: 2\n- name: Tern\n  seats: 8\n",
}

QUESTIONS = (
    Question("List the minutes folder.", "list", (("march.md",), ("april.md",))),
    Question("What is stored in this folder?", "list", (("rules.txt",), ("boats.yaml",))),
    Question("Who is the treasurer? Look into index.txt.", "read", (("Mina Sol", "Sol"),), ("treasurer is Ruben",)),
    Question("When does the slipway close according to rules.txt?", "read", (("21:00", "9 pm"),)),
    Question("How many seats does the Otter have, in boats.yaml?", "read", (("2", "two"),)),
    Question("What does the new roof cost? It is in minutes/march.md.", "read", (("6,200", "6200"),)),
    Question("On which day is the regatta?", "read", (("17 August", "August 17", "17th of August", "August 17th"),)),
    Question("Which file talks about dogs?", "search", (("rules.txt",),)),
    Question("Which files mention Sami?", "search", (("2024.csv", "members/2024.csv"),), ("2023.csv",)),
    Question("Is the word helicopter anywhere in these files?", "search", (NO,), ("yes",)),
    Question("How many lines are in rules.txt?", "count", (("4", "four"),)),
    Question("How many files does the members folder hold?", "count", (("2", "two"),)),
    Question("Show me budget.xlsx.", "missing", (NO,)),
    Question("Good morning!", "talk", (("morning", "hello", "hi", "help"),), ("rules.txt", "index.txt"), looks=False),
    Question("What is 9 times 6?", "talk", (("54", "fifty-four"),), looks=False),
)
