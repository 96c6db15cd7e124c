package oslprom

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed59451c2b/osl"
)

// sandbox sends the metrics of a sandbox, and returns what it is, to be compared.
func (c *Collector) sandbox(ctx context.Context, e osl.Entry, to chan<- prometheus.Metric) (state string) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(info, 1, e.Name, e.Network, strconv.FormatBool(e.Made))
	n, err := c.base.Open(ctx, e.Name)
	if err != nil {
		gauge(problem, 1, e.Name, e.Network)
		return err.Error()
	}
	defer n.Close()
	st, err := n.Inspect(ctx)
	var stats map[string]counted
	if err == nil {
		stats, err = statistics(ctx, n)
	}
	gauge(problem, truth(err != nil || e.Problem != ""), e.Name, e.Network)
	if err != nil {
		return err.Error()
	}
	for _, x := range st.Interfaces {
		labels := []string{e.Name, e.Network, x.Name}
		gauge(up, truth(x.Up), labels...)
		gauge(carrier, truth(x.Carrier), labels...)
		gauge(mtu, float64(x.MTU), labels...)
		if values, ok := stats[x.Name]; ok {
			for i, v := range values {
				to <- prometheus.MustNewConstMetric(counters[i], prometheus.CounterValue, float64(v), labels...)
			}
		}
	}
	b, err := json.Marshal(st)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// counted are the counters in the order of their descriptions.
type counted [len(counters)]uint64

func statistics(ctx context.Context, n *osl.Namespace) (map[string]counted, error) {
	all, err := n.Statistics(ctx)
	if err != nil {
		return nil, err
	}
	there := map[string]counted{}
	for name, s := range all {
		there[name] = counted{s.RxBytes, s.RxPackets, s.RxErrors, s.RxDropped, s.TxBytes, s.TxPackets, s.TxErrors, s.TxDropped}
	}
	return there, nil
}
