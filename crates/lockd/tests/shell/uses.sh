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

# 13. Leader election: each candidate tries again and again to be the leader, leads for one term, and steps down.
candidate() {
    until lockd client with leader --block nowait -- sh -c \
        'lockd client mutate /terms++ "/leader=$1" >/dev/null' lead "$1" 2>/dev/null; do sleep 0.05; done
}
candidate anna & candidate bert & candidate cleo &
wait
expect "$(public leader | sed 's/.*"terms":\([0-9]*\).*/\1/')" 3 'terms of three leaders'

# 14. Filter a document with jq, and write one that jq made.
if command -v jq >/dev/null; then
    eval "$(lockd client acquire -k filtered)"
    jq -n '{items: [1, 2, 3]}' | lockd client update >/dev/null
    lockd client get 2>/dev/null | jq '.sum = (.items | add)' | lockd client update >/dev/null
    lockd client release >/dev/null
    expect "$(lockd client get --public -k filtered 2>/dev/null | jq .sum)" 6 'jq'
else
    echo 'NOTE: jq is not installed; use 14 was not tried'
fi

# 15. Keep a lease alive by hand.
eval "$(lockd client acquire -k slow --ttl 30s)"
first=$LOCKD_CLIENT_EXPIRES_UNIX
later=$(lockd client keepalive --ttl 5m --output text | sed 's/expires_at_unix: \([0-9]*\).*/\1/')
test "$later" -gt "$first" || fail "the lease was not extended: $first, $later"
lockd client release >/dev/null

# 16. A pipeline stage hands its failure on, and leaves nothing behind.
if lockd client with stage -- sh -c 'lockd client set /half=true >/dev/null; exit 7'; then
    fail 'the failure was swallowed'
else
    expect "$?" 7 'status of the stage'
fi
expect "$(public stage)" null 'what the failed stage left'

# 17. Configuration that people write in YAML.
printf 'name: shop\nreplicas: 2\n' >shop.yaml
lockd client with shop -- lockd client update shop.yaml >/dev/null
expect "$(public shop)" '{"name":"shop","replicas":2}' 'document from YAML'
lockd client get --public -k shop -o back.yaml 2>/dev/null
cmp shop.yaml back.yaml

# 18. Publish a release once: the first build wins, the others find it there.
lockd client with release-7 -- sh -c 'echo one | lockd client attachments put --name notes -f - >/dev/null'
lockd client with release-7 -- sh -c \
    'echo two | lockd client attachments put --name notes --prevent-overwrite -f - >/dev/null'
expect "$(lockd client attachments get --public -k release-7 --name notes)" one 'first build'

# 19. Clean up after a job.
lockd client with release-7 -- lockd client attachments delete-all >/dev/null
expect "$(lockd client attachments list --public -k release-7 --output text)" '' 'attachments after the clean-up'

# 20. Hand a lease from one script to another through a file.
lockd client acquire -k baton >baton.env
sh -c '. ./baton.env && lockd client set /runner=second >/dev/null && lockd client release >/dev/null'
expect "$(public baton)" '{"runner":"second"}' 'baton'

echo 'all uses work'
