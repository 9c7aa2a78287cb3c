# What people do with lockd from a shell. Runs in an empty directory with a server of its own; `set -e` makes every step
# that does not work fail the whole.
set -eu
fail() { echo "failed: $*" >&2; exit 1; }
expect() { test "$1" = "$2" || fail "$3: got '$1' instead of '$2'"; }
public() { lockd client get --public --type raw -k "$1" 2>/dev/null; }

# 1. The script that must run unchanged.
eval "$(lockd client acquire -k orders --ttl 30s)"
lockd client get -o state.json 2>/dev/null
lockd client edit -f state.json /counter++
lockd client update state.json >/dev/null
lockd client release >/dev/null
expect "$(public orders)" '{"counter":1}' 'typical script'

# 2. A cron job that must not run twice at a time: the second one gives up at once.
lockd client with cron -- sh -c 'lockd client with cron --block nowait -- touch twice 2>/dev/null || echo busy >second'
expect "$(cat second)" busy 'cron job'
test ! -e twice || fail 'the cron job ran twice'

# 3. Workers that count together lose nothing.
for worker in 1 2 3; do
    lockd client with tally --block 60s -- lockd client mutate /n++ >/dev/null &
done
wait
expect "$(public tally)" '{"n":3}' 'workers'

# 4. Change a configuration only if it is still the one that was looked at.
eval "$(lockd client acquire -k config)"
echo '{"replicas":2}' | lockd client update --if-version 0 >/dev/null
lockd client release >/dev/null
eval "$(lockd client acquire -k config)"
expect "$LOCKD_CLIENT_VERSION" 1 'version of the configuration'
lockd client set /replicas=3 --if-version "$LOCKD_CLIENT_VERSION" >/dev/null
if lockd client set /replicas=4 --if-etag stale >/dev/null 2>&1; then fail 'a stale etag was accepted'; fi
lockd client release >/dev/null
expect "$(public config)" '{"replicas":3}' 'configuration'

# 5. Change one's mind.
eval "$(lockd client acquire -k config)"
lockd client remove >/dev/null
lockd client release --rollback --output text >/dev/null
expect "$(public config)" '{"replicas":3}' 'rollback'

# 6. Attach a report and fetch it elsewhere.
seq 1 1000 >report.txt
lockd client with reports -- lockd client attachments put --name today -f report.txt >/dev/null
lockd client attachments get --public -k reports --name today -o fetched.txt
cmp report.txt fetched.txt

# 7. Pipe things in and out.
eval "$(lockd client acquire -k piped)"
seq 1 3 | lockd client attachments put --name numbers -f - >/dev/null
expect "$(lockd client attachments get --name numbers | tail -n 1)" 3 'piped attachment'
echo '{"a":{"b":[1,2]}}' | lockd client update >/dev/null
expect "$(lockd client get 2>/dev/null | grep -c '"b"')" 1 'piped document'
lockd client release >/dev/null

# 8. Create a key only once.
lockd client acquire -k once --if-not-exists >/dev/null
if lockd client acquire -k once --if-not-exists 2>/dev/null; then fail 'created twice'; fi

# 9. Two keys, all or nothing.
eval "$(lockd client acquire -k from)"
TXN=$LOCKD_CLIENT_TXN_ID
lockd client set /cents=50 >/dev/null
eval "$(lockd client acquire -k to --txn-id "$TXN")"
lockd client set /cents=50 >/dev/null
lockd client release >/dev/null
expect "$(public to)" '{"cents":50}' 'transaction'

# 10. A log in the document.
printf 'line 1\nline 2\n' >run.log
lockd client with job -- lockd client set /status=done textfile:/log=./run.log >/dev/null
expect "$(public job)" '{"log":"line 1\nline 2\n","status":"done"}' 'text from a file'

# 11. Who holds it?
lockd client acquire -k held --owner me >/dev/null
lockd client describe -k held --output text | grep -q '^owner: me$'

# 12. Settings of a namespace of one's own.
lockd namespace set query -n shop --preferred scan >/dev/null
lockd client acquire -k a -n shop --output json | grep -q '"namespace": "shop"'

echo 'all uses work'
