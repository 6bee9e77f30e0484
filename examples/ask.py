"""Ask a Clipper application a question over REST: ask.py URL JSON."""

import sys
import urllib.request

url, question = sys.argv[1:]
request = urllib.request.Request(  # noqa: S310
    url, question.encode(), {"Content-Type": "application/json"}
)
print("question:", question)
with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
    print("answer:  ", answer.read().decode())
