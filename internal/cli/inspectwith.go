package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed59451c2b/osl"
)

// withRows tell what a file may say of interfaces that no other table has.
func withRows(st *osl.Status) (rows [][]string) {
	for _, i := range st.Interfaces {
		words := fields(struct {
			AltNames     []string `json:"altnames,omitempty"`
			Group        int      `json:"group,omitempty"`
			Promisc      bool     `json:"promisc,omitempty"`
			AllMulticast bool     `json:"allmulticast,omitempty"`
		}{i.AltNames, i.Group, i.Promisc, i.AllMulticast})
		if i.Impair != nil {
			words = append(words, "impair: "+strings.Join(fields(i.Impair), " "))
		}
		for _, p := range i.Addresses {
			if o := fields(i.AddressOptions[p]); len(o) > 0 {
				words = append(words, p.String()+": "+strings.Join(o, " "))
			}
		}
		if len(words) > 0 {
			rows = append(rows, []string{i.Name, strings.Join(words, ", ")})
		}
	}
	return rows
}

// fields are those of a document that say something, with what they say.
func fields(document any) (words []string) {
	text, err := json.Marshal(document)
	said := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err == nil {
		err = d.Decode(&said)
	}
	if err != nil {
		return []string{err.Error()}
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		switch v := said[name].(type) {
		case bool:
			words = append(words, name)
		case []any:
			var list []string
			for _, x := range v {
				list = append(list, fmt.Sprint(x))
			}
			words = append(words, name+"="+strings.Join(list, ","))
		default:
			words = append(words, fmt.Sprintf("%s=%v", name, v))
		}
	}
	return words
}
