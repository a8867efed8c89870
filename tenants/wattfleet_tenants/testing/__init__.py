"""Real servers, waits and builders for the tests of every member; pytest finds them through `testing.plugin`."""
