"""A stand-in for a pfSense with its REST API v2: it knows the schema, the quirks, and nothing of our driver.

Built from the public schema and from what pfSense-pkg-RESTAPI and pfSense's rule generator do. It shares no module
with the driver, so that a misunderstanding cannot cancel itself out.
"""
