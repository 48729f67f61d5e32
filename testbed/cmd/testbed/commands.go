package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"

	"penstock.dev/testbed/internal/cluster"
	"penstock.dev/testbed/internal/node"
	"penstock.dev/testbed/internal/proxy"
)

type options struct {
	name  string
	nodes int
}

func parse(args []string) (options, error) {
	if len(args) == 0 {
		return options{}, errUsage
	}
	o := options{name: args[0]}
	flags := flag.NewFlagSet("testbed", flag.ContinueOnError)
	flags.IntVar(&o.nodes, "nodes", 1, "")
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 0 || o.nodes < 0 || o.nodes > 200 {
		return o, errUsage
	}
	return o, nil
}

// binaries is the folder that cluster.sh filled.
func binaries() (cluster.Binaries, error) {
	dir := os.Getenv("TESTBED_BIN")
	if dir == "" {
		return "", errors.New("TESTBED_BIN is not set: call testbed/cluster.sh, which builds the programs and sets it")
	}
	return cluster.Binaries(dir), nil
}

func run(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	bin, err := binaries()
	if err != nil {
		return err
	}
	instance, err := cluster.Create(o.name)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	supervisor, err := cluster.NewSupervisor(instance, bin, o.nodes)
	if err != nil {
		return err
	}
	defer supervisor.Close()
	if err := supervisor.Start(ctx); err != nil {
		return err
	}
	go func() {
		if err := supervisor.Serve(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintf(os.Stderr, "testbed: control socket: %v\n", err)
		}
	}()
	working, err := startNodes(ctx, instance, o.nodes)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	working.Wait()
	return nil
}

// startNodes starts the service proxy and the agents; the group is done when all pods' processes are gone.
func startNodes(ctx context.Context, instance *cluster.Instance, count int) (*sync.WaitGroup, error) {
	working := &sync.WaitGroup{}
	images, err := node.LoadImages(os.Getenv("TESTBED_IMAGES"))
	if err != nil {
		return nil, err
	}
	config, err := instance.AdminConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(cluster.Patient(config))
	if err != nil {
		return nil, err
	}
	services := &proxy.Proxy{Instance: instance, Client: client}
	addresses := &node.Addresses{}
	var agents []*node.Agent
	for n := range count {
		agent := &node.Agent{
			Instance: instance, Name: fmt.Sprintf("node-%d", n+1), IP: instance.NodeIP(n),
			Client: client, Images: images, IPs: addresses,
		}
		agents = append(agents, agent)
		services.Nodes = append(services.Nodes, agent.IP)
	}
	working.Go(func() { services.Run(ctx) })
	for _, agent := range agents {
		working.Go(func() { logError("agent", agent.Run(ctx)) })
		working.Go(func() { logError("kubelet", agent.ServeKubelet(ctx)) })
	}
	return working, nil
}

func logError(what string, err error) {
	if err != nil {
		log.Printf("%s: %v", what, err)
	}
}

// up starts `run` in a session of its own and waits for its "ready".
func up(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.CreateTemp("", "testbed-"+o.name+"-*.log")
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self, append([]string{"run"}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	for !saysReady(log.Name()) {
		select {
		case <-exited:
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("the cluster did not start: %s", text)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return env([]string{o.name})
}

func saysReady(log string) bool {
	file, err := os.Open(log)
	if err != nil {
		return false
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if lines.Text() == "ready" {
			return true
		}
	}
	return false
}

func down(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	instance, err := cluster.Open(o.name)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(instance.Path("pid"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	// A PID may be someone else's by now; ours holds the name of this program.
	if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); strings.HasPrefix(filepath.Base(exe), "testbed") {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return err
		}
		for syscall.Kill(pid, 0) == nil {
			time.Sleep(50 * time.Millisecond)
		}
	}
	instance.Remove()
	return nil
}

func env(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	instance, err := cluster.Open(o.name)
	if err != nil {
		return err
	}
	fmt.Printf("export KUBECONFIG=%s\n", instance.Path("kubeconfig"))
	fmt.Printf("export PATH=%s:$PATH\n", os.Getenv("TESTBED_BIN"))
	fmt.Printf("export NODE_IP=%s\n", instance.NodeIP(0))
	return nil
}

func list([]string) error {
	for _, instance := range cluster.List() {
		fmt.Printf("%s\t%s\t%s\n", instance.Name, instance.APIServer(), instance.Path("kubeconfig"))
	}
	return nil
}

func control(args []string) error {
	if len(args) < 2 {
		return errUsage
	}
	instance, err := cluster.Open(args[0])
	if err != nil {
		return err
	}
	method, path, query := http.MethodPost, "", url.Values{}
	switch verb := args[1]; {
	case verb == "components" && len(args) == 2:
		method, path = http.MethodGet, "/components"
	case (verb == "snapshot" || verb == "restore") && len(args) == 3:
		path = "/" + verb
		query.Set("file", args[2])
	case (verb == "stop" || verb == "kill" || verb == "start") && len(args) == 3:
		path = "/components/" + args[2] + "/" + verb
	default:
		return errUsage
	}
	body, err := instance.Control(context.Background(), method, path, query)
	fmt.Print(body)
	return err
}
