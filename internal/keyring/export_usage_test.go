package keyring

import "context"

// UseShards, UseBatch and RecentUses are bounds of Uses.
const (
	UseShards  = useShards
	UseBatch   = useBatch
	RecentUses = recentUses
)

// LimitNoted sets how many keys each part knows at once.
func (u *Uses) LimitNoted(n int) { u.limit = n }

// Noted returns how many keys are known at once now.
func (u *Uses) Noted() int {
	n := 0
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.RLock()
		n += len(s.noted)
		s.mu.RUnlock()
	}
	return n
}

// Store stores what was noted.
func (u *Uses) Store(ctx context.Context) { u.store(ctx) }

// UseOperations returns the operations that use a key.
func UseOperations() []string { return useOperations[1:] }

// AppendUseRecord and DecodeUseRecord are the codec of the records of last uses.
func AppendUseRecord(b []byte, u *Use) []byte { return appendUse(b, u) }

func DecodeUseRecord(b []byte) (Use, error) { return decodeUse(b) }
