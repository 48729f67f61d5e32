// Command testbed starts, ends and steers test clusters, and is the node agent in them. cluster.sh builds and calls it.
package main

import (
	"errors"
	"fmt"
	"os"

	"penstock.dev/testbed/internal/node"
)

const usage = `usage: testbed COMMAND
  up NAME [--nodes N]            start a cluster in the background; prints how to use it when it is ready
  run NAME [--nodes N]           the same in the foreground, until Ctrl-C
  down NAME                      end it and remove every trace
  env NAME                       print the exports for a shell
  list                           the clusters of this machine
  control NAME stop|kill|start COMPONENT
                                 etcd, kube-apiserver, kube-controller-manager or kube-scheduler
  control NAME snapshot|restore FILE
                                 etcd's state
  control NAME components        what runs
`

var commands = map[string]func([]string) error{
	"up":      up,
	"run":     run,
	"down":    down,
	"env":     env,
	"list":    list,
	"control": control,
	// For the agent itself: what a container's process is before it is the container.
	"container": func(args []string) error { return node.Become(args[0]) },
}

var errUsage = errors.New(usage)

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(64)
	}
	if err := commands[os.Args[1]](os.Args[2:]); errors.Is(err, errUsage) {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(64)
	} else if err != nil {
		fmt.Fprintf(os.Stderr, "testbed: %v\n", err)
		os.Exit(1)
	}
}
