"""The way of a submitted job into a site: unpacked, rendered anew, compared, decided, reserved, written down."""
