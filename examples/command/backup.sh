#!/bin/sh
# Packs a folder and tells how many bytes that made.
set -e
cd "$1"
bytes=$(tar cf - . | wc -c)
echo "packed $bytes bytes of $1"
echo "backup_bytes $bytes" >> "$PUSHGATE_METRICS_FILE"
