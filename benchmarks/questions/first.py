"""The first set: 30 questions about the folder of a small program. Frozen; see the package."""

from benchmarks.questions.key import NO, Question

FILES = {
    "README.md": (
        "# Larkspur\n\nLarkspur prints labels for jam jars.\n\n"
        "The maintainer is Edda Holm.\nVersion 3.4.1 was released on 2 May 2024.\n"
    ),
    "config.ini": "[server]\nhost = 10.0.0.12\nport = 8137\nlog_level = warning\n\n[printer]\npaper = A5\n",
    "notes.txt": "Meeting on Tuesday at 9:30 in room 214.\nBring the blue folder.\nOrder 40 sheets of label paper.\n",
    "todo.txt": (
        "urgent: repair the paper tray\nwrite the summer newsletter\nurgent: renew the certificate\n"
        "try a gooseberry label\nurgent: call the printer's maker\nclean the store\n"
    ),
    "data/orders.csv": (
        "customer,jars,price\nAnton,12,48.00\nBerit,7,28.00\nCleo,30,105.00\nDario,3,13.50\nElin,18,70.20\n"
    ),
    "docs/install.md": "# Install\n\nRun `pip install larkspur`.\nIt needs Python 3.11 or newer.\n",
    "docs/license.md": "Larkspur is published under the BSD license.\n",
    "docs/usage.md": "# Use\n\nRun `larkspur print orders.csv`. With `--dry-run` nothing is printed.\n",
    "src/labels.py": (
        '"""Labels for jars."""\n\n\ndef label(fruit, year):\n    return f"{fruit} {year}"\n\n\n'
        "def print_all(orders):\n    for order in orders:\n        print(label(order.fruit, order.year))\n"
    ),
    "src/store.py": (
        '"""Keeps orders in SQLite."""\n\nimport sqlite3\n\nTIMEOUT = 45\n\n\n'
        "def connect(path):\n    return sqlite3.connect(path, timeout=TIMEOUT)\n"
    ),
}

QUESTIONS = (
    Question("Which files are in the docs folder?", "list", (("install.md",), ("license.md",), ("usage.md",))),
    Question("What files and folders are here?", "list", (("README.md",), ("config.ini",), ("src", "src/"))),
    Question("Which Python files are in src?", "list", (("labels.py",), ("store.py",))),
    Question("What is in the data folder?", "list", (("orders.csv",),)),
    Question("What port is set in config.ini?", "read", (("8137",),)),
    Question("Who maintains this project, according to README.md?", "read", (("Edda Holm", "Holm"),)),
    Question("In which room is the meeting? See notes.txt.", "read", (("214",),)),
    Question("Read todo.txt and tell me the first task in it.", "read", (("paper tray",),), ("newsletter",)),
    Question("Which version does the readme name?", "read", (("3.4.1",),)),
    Question("How many jars did Cleo order, according to data/orders.csv?", "read", (("30",),), ("12", "18")),
    Question("Which command installs the program, according to docs/install.md?", "read", (("pip install larkspur",),)),
    Question("What is the log level in the config file?", "read", (("warning",),)),
    Question("Under which license is Larkspur published?", "read", (("BSD",),)),
    Question("What value has TIMEOUT in src/store.py?", "read", (("45",),)),
    Question("What does the file docs/usage.md say about --dry-run?", "read", (("nothing is printed", "not print"),)),
    Question("Which file mentions Edda Holm?", "search", (("README.md", "README"),)),
    Question("Which file contains the word gooseberry?", "search", (("todo.txt",),)),
    Question("In which file is the function print_all defined?", "search", (("labels.py", "src/labels.py"),)),
    Question("Where is sqlite3 used?", "search", (("store.py", "src/store.py"),)),
    Question("Does any file contain the word kubernetes?", "search", (NO,), ("yes",)),
    Question("How many lines does notes.txt have?", "count", (("3", "three"),)),
    Question("How many files are in the docs folder?", "count", (("3", "three"),)),
    Question("How many lines in todo.txt contain the word urgent?", "count", (("3", "three"),)),
    Question("How many lines does data/orders.csv have?", "count", (("6", "six"),)),
    Question("What does secrets.txt contain?", "missing", (NO,)),
    Question("Is there a file called setup.py here?", "missing", (NO,), ("yes",)),
    Question("What is the database password in config.ini?", "missing", (NO,)),
    Question(
        "Hello!",
        "talk",
        (("hello", "hi", "help", "welcome", "hey"),),
        ("README.md", "config.ini", "notes.txt"),
        looks=False,
    ),
    Question(
        "Thanks, that was helpful.",
        "talk",
        (("welcome", "glad", "pleasure", "happy", "anytime", "let me know", "no problem", "great"),),
        ("README.md", "config.ini", "notes.txt"),
        looks=False,
    ),
    Question("What is 17 plus 25?", "talk", (("42", "forty-two"),), looks=False),
)
