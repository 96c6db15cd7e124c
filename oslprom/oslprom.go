// Package oslprom has a Prometheus collector for the sandboxes of package osl. It is a
// module of its own, so that osl depends on nothing of Prometheus.
package oslprom

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed59451c2b/osl"
)

// The metrics. Counters are the kernel's, from the making of the interface on.
var (
	sandboxLabels = []string{"sandbox", "network"}
	linkLabels    = []string{"sandbox", "network", "interface"}

	info     = desc("info", "A sandbox; 1.", append(sandboxLabels, "made")...)
	problem  = desc("problem", "1 where the sandbox can not be read, or a change of it is under way.", sandboxLabels...)
	changed  = desc("last_change_timestamp_seconds", "When a collection first saw the sandbox as it is, in seconds since 1970.", sandboxLabels...)
	up       = desc("interface_up", "1 where the interface is set up.", linkLabels...)
	carrier  = desc("interface_carrier", "1 where the interface has a carrier.", linkLabels...)
	mtu      = desc("interface_mtu_bytes", "The MTU.", linkLabels...)
	counters = [...]*prometheus.Desc{
		desc("receive_bytes_total", "Bytes received.", linkLabels...),
		desc("receive_packets_total", "Packets received.", linkLabels...),
		desc("receive_errors_total", "Packets received that were bad.", linkLabels...),
		desc("receive_drop_total", "Packets received that were dropped.", linkLabels...),
		desc("transmit_bytes_total", "Bytes sent.", linkLabels...),
		desc("transmit_packets_total", "Packets sent.", linkLabels...),
		desc("transmit_errors_total", "Packets that could not be sent.", linkLabels...),
		desc("transmit_drop_total", "Packets to be sent that were dropped.", linkLabels...),
	}
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("osl_"+name, help, labels, nil)
}

// Collector is a prometheus.Collector for all sandboxes of a base path, those that come
// later included. Each collection reads them anew, some at a time; between two it holds
// nothing of them. It needs the rights to enter them.
type Collector struct {
	base    osl.Base
	timeout time.Duration

	mu   sync.Mutex
	seen map[string]seen // by key
}

// seen is when a sandbox was first seen as it is.
type seen struct {
	state string
	at    time.Time
}

// DefaultTimeout bounds a collection.
const DefaultTimeout = 10 * time.Second

// New returns a collector for the sandboxes of a base path; osl.At("") is the
// process's. A collection that takes longer than timeout reports what it has, 0 means
// DefaultTimeout.
func New(base osl.Base, timeout time.Duration) *Collector {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Collector{base: base, timeout: timeout, seen: map[string]seen{}}
}

// Describe sends the descriptions of all metrics.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range append([]*prometheus.Desc{info, problem, changed, up, carrier, mtu}, counters[:]...) {
		to <- d
	}
}

// Collect reads all sandboxes. One that is gone meanwhile is passed over, one that can
// not be read has the problem 1; if none can be listed, the error is an invalid metric.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	list, err := c.base.List(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(info, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	there := map[string]seen{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for _, e := range list {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			state := c.sandbox(ctx, e, to)
			mu.Lock()
			defer mu.Unlock()
			last := c.seen[e.Key]
			if last.at.IsZero() || last.state != state {
				last = seen{state, time.Now()}
			}
			there[e.Key] = last
			to <- prometheus.MustNewConstMetric(changed, prometheus.GaugeValue, float64(last.at.UnixMilli())/1000, e.Name, e.Network)
		})
	}
	wg.Wait()
	c.seen = there
}

// atOnce is how many sandboxes are read at a time.
const atOnce = 8

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
