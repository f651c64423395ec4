"""What runs inside a sandbox, given to Python as text; it uses the standard library alone.

A reply's code and the tests run in two sandboxes. The tests call functions and classes of the reply through stubs, and
results come back as data. So the reply shares no memory, no file and no verdict with the tests: it can only answer.
"""
