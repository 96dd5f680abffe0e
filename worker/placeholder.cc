namespace dongle {}
