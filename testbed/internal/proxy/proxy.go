// Package proxy makes Services reachable, as kube-proxy does, but in user space: it puts ClusterIPs on the cluster's
// bridge, listens there and on node ports, and passes TCP connections on to ready endpoints. No packet filter is
// needed, and nothing of the host's is touched.
package proxy

import (
	"context"
	"fmt"
	"log"
	"net"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"penstock.dev/testbed/internal/cluster"
)

// Proxy serves all Services of a cluster, for all of its nodes.
type Proxy struct {
	Instance *cluster.Instance
	Client   kubernetes.Interface
	Nodes    []string // the nodes' addresses

	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
	changed  chan struct{}

	mu        sync.Mutex
	ports     map[string]*port // by the address that is listened on
	addresses map[string]bool  // on the bridge
	balancers map[string]int   // service to the number of its load balancer's address
}

// Run follows Services and EndpointSlices until the context ends.
func (p *Proxy) Run(ctx context.Context) {
	p.changed = make(chan struct{}, 1)
	p.ports, p.addresses, p.balancers = map[string]*port{}, map[string]bool{}, map[string]int{}
	factory := informers.NewSharedInformerFactory(p.Client, 0)
	p.services = factory.Core().V1().Services().Lister()
	p.slices = factory.Discovery().V1().EndpointSlices().Lister()
	poke := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { p.poke() },
		UpdateFunc: func(any, any) { p.poke() },
		DeleteFunc: func(any) { p.poke() },
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Services().Informer(), factory.Discovery().V1().EndpointSlices().Informer(),
	} {
		if _, err := informer.AddEventHandler(poke); err != nil {
			log.Printf("proxy: %v", err)
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	p.poke()
	for {
		select {
		case <-ctx.Done():
			p.reconcile(ctx, nil)
			return
		case <-p.changed:
		}
		services, err := p.services.List(labels.Everything())
		if err != nil {
			log.Printf("proxy: %v", err)
			continue
		}
		p.reconcile(ctx, services)
	}
}

func (p *Proxy) poke() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// reconcile brings listeners and their endpoints to what the services say.
func (p *Proxy) reconcile(ctx context.Context, services []*core.Service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := map[string][]string{}
	for _, service := range services {
		for address, backends := range p.listeners(ctx, service) {
			wanted[address] = backends
		}
	}
	for address, open := range p.ports {
		if _, keep := wanted[address]; !keep {
			open.close()
			delete(p.ports, address)
		}
	}
	for address, backends := range wanted {
		if open := p.ports[address]; open != nil {
			open.set(backends)
			continue
		}
		open, err := listen(ctx, address, backends)
		if err != nil {
			log.Printf("proxy: %v", err)
			time.AfterFunc(time.Second, p.poke)
			continue
		}
		p.ports[address] = open
	}
}

// listeners returns the addresses that a service is reached at, each with its endpoints.
func (p *Proxy) listeners(ctx context.Context, service *core.Service) map[string][]string {
	all := map[string][]string{}
	if service.Spec.ClusterIP == "" || service.Spec.ClusterIP == core.ClusterIPNone || service.Spec.Type == core.ServiceTypeExternalName {
		return all
	}
	hosts := []string{service.Spec.ClusterIP}
	if service.Spec.Type == core.ServiceTypeLoadBalancer {
		if ip := p.loadBalancer(ctx, service); ip != "" {
			hosts = append(hosts, ip)
		}
	}
	for _, host := range hosts {
		p.claim(host)
	}
	for _, port := range service.Spec.Ports {
		if port.Protocol != core.ProtocolTCP {
			continue
		}
		backends := p.backends(service, port.Name)
		for _, host := range hosts {
			all[fmt.Sprintf("%s:%d", host, port.Port)] = backends
		}
		if port.NodePort != 0 {
			for _, node := range p.Nodes {
				all[fmt.Sprintf("%s:%d", node, port.NodePort)] = backends
			}
		}
	}
	return all
}

// claim puts an address on the bridge. It stays until the cluster ends; addresses are many.
func (p *Proxy) claim(ip string) {
	if p.addresses[ip] {
		return
	}
	if err := cluster.IP("addr", "add", ip+"/32", "dev", p.Instance.Bridge()); err != nil {
		log.Printf("proxy: %v", err)
		return
	}
	p.addresses[ip] = true
}

// loadBalancer gives a service an address of its own and writes it into the status, as a cloud would.
func (p *Proxy) loadBalancer(ctx context.Context, service *core.Service) string {
	key := service.Namespace + "/" + service.Name
	number, known := p.balancers[key]
	if !known {
		number = len(p.balancers)
		p.balancers[key] = number
	}
	ip := p.Instance.LoadBalancerIP(number)
	if len(service.Status.LoadBalancer.Ingress) == 1 && service.Status.LoadBalancer.Ingress[0].IP == ip {
		return ip
	}
	update := service.DeepCopy()
	update.Status.LoadBalancer.Ingress = []core.LoadBalancerIngress{{IP: ip}}
	if _, err := p.Client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, update, meta.UpdateOptions{}); err != nil {
		log.Printf("proxy: %s: %v", key, err)
		time.AfterFunc(time.Second, p.poke)
	}
	return ip
}

// backends lists a service port's ready endpoints; where none is ready, those that still serve while they terminate,
// as kube-proxy has it.
func (p *Proxy) backends(service *core.Service, portName string) []string {
	selector := labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: service.Name})
	slices, err := p.slices.EndpointSlices(service.Namespace).List(selector)
	if err != nil {
		return nil
	}
	var ready, serving []string
	for _, slice := range slices {
		number := int32(0)
		for _, port := range slice.Ports {
			if port.Port != nil && (port.Name == nil && portName == "" || port.Name != nil && *port.Name == portName) {
				number = *port.Port
			}
		}
		if number == 0 {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			address := net.JoinHostPort(endpoint.Addresses[0], fmt.Sprint(number))
			switch c := endpoint.Conditions; {
			case c.Ready == nil || *c.Ready:
				ready = append(ready, address)
			case c.Serving != nil && *c.Serving:
				serving = append(serving, address)
			}
		}
	}
	if len(ready) == 0 {
		return serving
	}
	return ready
}
