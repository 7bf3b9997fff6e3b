package quota

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
