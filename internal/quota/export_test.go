package quota

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Accounts returns how many sets of buckets are kept.
func (l *Limits) Accounts() (n int) {
	for _, r := range l.regions {
		for i := range r.shards {
			if have := r.shards[i].accounts.Load(); have != nil {
				n += len(*have)
			}
		}
	}
	return n
}

// Default says what a quota is if nobody sets it, as the manual does: first what
// holds in most Regions, then the exceptions, the smallest first.
func Default(name string) string {
	r := &rates[classes[name]]
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	text := number(r.normal)
	if v, ok := r.in[china]; ok {
		return text + "; " + number(v) + " in China"
	}
	where := make(map[float64][]string)
	for region, v := range r.in {
		where[v] = append(where[v], region)
	}
	for _, v := range slices.Sorted(maps.Keys(where)) {
		slices.Sort(where[v])
		text += "; " + number(v) + " in " + strings.Join(where[v], ", ")
	}
	return text
}
