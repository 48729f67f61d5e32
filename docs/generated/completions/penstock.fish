# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_penstock_global_optspecs
    string join \n h/help V/version
end

function __fish_penstock_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_penstock_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_penstock_using_subcommand
    set -l cmd (__fish_penstock_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c penstock -n "__fish_penstock_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c penstock -n "__fish_penstock_needs_command" -s V -l version -d 'Print version'
complete -c penstock -n "__fish_penstock_needs_command" -f -a "serve" -d 'Serve a routing document'
complete -c penstock -n "__fish_penstock_needs_command" -f -a "validate" -d 'Check routing documents without serving them'
complete -c penstock -n "__fish_penstock_needs_command" -f -a "keys" -d 'Make the keys by which consumers are known, and their digests'
complete -c penstock -n "__fish_penstock_needs_command" -f -a "explain" -d 'Ask a gateway that runs what would become of a request, and why'
complete -c penstock -n "__fish_penstock_needs_command" -f -a "cost" -d 'Add up what the requests of access logs took and cost'
complete -c penstock -n "__fish_penstock_needs_command" -f -a "schema" -d 'Print what a routing document may say: its JSON schema, or its reference page'
complete -c penstock -n "__fish_penstock_needs_command" -f -a "up" -d 'Serve model servers without any file: ask each which models it has'
complete -c penstock -n "__fish_penstock_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c penstock -n "__fish_penstock_needs_command" -f -a "man" -d 'Print the manual page, or write those of all commands to a directory'
complete -c penstock -n "__fish_penstock_using_subcommand serve" -s c -l config -d 'The routing document too: `serve --config FILE` is `serve FILE`' -r -F
complete -c penstock -n "__fish_penstock_using_subcommand serve" -l handover -d 'Take the place of the process that was started with the same path, without a failed request' -r -F
complete -c penstock -n "__fish_penstock_using_subcommand serve" -l kubernetes -d 'Read the routing document from ConfigMap BASE-routing of a Kubernetes cluster' -r
complete -c penstock -n "__fish_penstock_using_subcommand serve" -l namespace -d 'The namespace of the objects [default: the pod\'s own]' -r
complete -c penstock -n "__fish_penstock_using_subcommand serve" -l cache-dir -d 'Keep the last good state here, and start from it when the API server cannot be reached' -r -F
complete -c penstock -n "__fish_penstock_using_subcommand serve" -l admin -d 'The address of the admin listener, which answers before there is a document' -r
complete -c penstock -n "__fish_penstock_using_subcommand serve" -l log-level -d 'What is logged: error, warn, info, debug, trace, or directives such as warn,rustls=debug' -r
complete -c penstock -n "__fish_penstock_using_subcommand serve" -l log-format -d 'How it is written to standard error' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c penstock -n "__fish_penstock_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c penstock -n "__fish_penstock_using_subcommand validate" -l with-files -d 'Look for the files that a document names too: certificates, keys, credentials'
complete -c penstock -n "__fish_penstock_using_subcommand validate" -s q -l quiet -d 'Print nothing about documents without faults'
complete -c penstock -n "__fish_penstock_using_subcommand validate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c penstock -n "__fish_penstock_using_subcommand keys; and not __fish_seen_subcommand_from new digest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c penstock -n "__fish_penstock_using_subcommand keys; and not __fish_seen_subcommand_from new digest" -f -a "new" -d 'Make a key, print it once, and say what the configuration has of it'
complete -c penstock -n "__fish_penstock_using_subcommand keys; and not __fish_seen_subcommand_from new digest" -f -a "digest" -d 'Print the digest of a key, which is read from standard input'
complete -c penstock -n "__fish_penstock_using_subcommand keys; and __fish_seen_subcommand_from new" -l consumer -d 'The consumer whose key it will be, for the lines that are printed for the configuration' -r
complete -c penstock -n "__fish_penstock_using_subcommand keys; and __fish_seen_subcommand_from new" -l prefix -d 'What the key begins with, by which people and scanners for secrets know it' -r
complete -c penstock -n "__fish_penstock_using_subcommand keys; and __fish_seen_subcommand_from new" -l format -d 'The form of standard output' -r -f -a "text\t'The key, on a line of its own'
json\t'An object with `key`, `digest` and `consumer`, on one line'"
complete -c penstock -n "__fish_penstock_using_subcommand keys; and __fish_seen_subcommand_from new" -s q -l quiet -d 'Print nothing but that'
complete -c penstock -n "__fish_penstock_using_subcommand keys; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c penstock -n "__fish_penstock_using_subcommand keys; and __fish_seen_subcommand_from digest" -l consumer -d 'Print a line for a file of keys: this consumer\'s name, and the digest' -r
complete -c penstock -n "__fish_penstock_using_subcommand keys; and __fish_seen_subcommand_from digest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c penstock -n "__fish_penstock_using_subcommand explain" -s m -l model -d 'Explain a small request for this model, in the place of a body' -r
complete -c penstock -n "__fish_penstock_using_subcommand explain" -l admin -d 'The admin listener of the gateway' -r
complete -c penstock -n "__fish_penstock_using_subcommand explain" -l path -d 'The request\'s path and query [default: /v1/chat/completions]' -r
complete -c penstock -n "__fish_penstock_using_subcommand explain" -l host -d 'The host that it is for' -r
complete -c penstock -n "__fish_penstock_using_subcommand explain" -l listener -d 'The listener that it comes to [default: the first]' -r
complete -c penstock -n "__fish_penstock_using_subcommand explain" -l method -d 'Its method [default: POST]' -r
complete -c penstock -n "__fish_penstock_using_subcommand explain" -l address -d 'The address that it comes from' -r
complete -c penstock -n "__fish_penstock_using_subcommand explain" -s H -l header -d 'A header of it, such as `authorization: Bearer KEY`; a file with it, as `@FILE`, keeps keys out of the list of processes' -r
complete -c penstock -n "__fish_penstock_using_subcommand explain" -l format -d 'How the explanation is printed' -r -f -a "text\t'In lines for people'
json\t'All of it, as the gateway says it'"
complete -c penstock -n "__fish_penstock_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c penstock -n "__fish_penstock_using_subcommand cost" -l by -d 'What there is a line for each of' -r -f -a "day\t'The day in UTC on which they ended'
month\t'The month in UTC'
consumer\t'Who asked'
model\t'The model that was asked for'
target-model\t'The model\'s name at the upstream, where it is another'
upstream\t'The pool or backend that answered'
route\t'The route'
listener\t'The listener'"
complete -c penstock -n "__fish_penstock_using_subcommand cost" -l since -d 'The first day that counts, in UTC' -r
complete -c penstock -n "__fish_penstock_using_subcommand cost" -l until -d 'The last day that counts, in UTC' -r
complete -c penstock -n "__fish_penstock_using_subcommand cost" -l format -d 'How sums are printed' -r -f -a "text\t'In columns for people'
csv\t'Comma-separated values, for spreadsheets'
json\t'One object'"
complete -c penstock -n "__fish_penstock_using_subcommand cost" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c penstock -n "__fish_penstock_using_subcommand schema" -l kind -d 'The kind of document' -r -f -a "routing-config\t'The routing document'
endpoints\t'A list of endpoints that pools and backends name in `endpointsFrom`'"
complete -c penstock -n "__fish_penstock_using_subcommand schema" -l format -d 'The form to print it in; the reference page has both kinds' -r -f -a "json\t'JSON schema, for editors that complete and check'
markdown\t'The reference page: every field with its type, default, range and meaning'"
complete -c penstock -n "__fish_penstock_using_subcommand schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c penstock -n "__fish_penstock_using_subcommand up" -l listen -d 'Where to serve clients' -r
complete -c penstock -n "__fish_penstock_using_subcommand up" -l admin-listen -d 'Where health, metrics and debug pages are' -r
complete -c penstock -n "__fish_penstock_using_subcommand up" -l model -d 'Serve the model NAME from URL without asking the server; may be given several times' -r
complete -c penstock -n "__fish_penstock_using_subcommand up" -l api-key-file -d 'The file with the key that the servers ask for, read again when it changes' -r -F
complete -c penstock -n "__fish_penstock_using_subcommand up" -l api-key -d 'The key itself; other users of this machine can see it, unlike one in a file or in PENSTOCK_API_KEY' -r
complete -c penstock -n "__fish_penstock_using_subcommand up" -l timeout -d 'How long a server may take to answer, in seconds' -r
complete -c penstock -n "__fish_penstock_using_subcommand up" -l log-level -d 'What is logged: error, warn, info, debug, trace, or directives such as warn,rustls=debug' -r
complete -c penstock -n "__fish_penstock_using_subcommand up" -l log-format -d 'How it is written to standard error' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c penstock -n "__fish_penstock_using_subcommand up" -l print -d 'Print the routing document instead of serving it'
complete -c penstock -n "__fish_penstock_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c penstock -n "__fish_penstock_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c penstock -n "__fish_penstock_using_subcommand man" -l directory -d 'Write the pages of all commands here instead of printing the main one' -r -F
complete -c penstock -n "__fish_penstock_using_subcommand man" -s h -l help -d 'Print help'
