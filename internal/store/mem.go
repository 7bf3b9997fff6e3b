package store

import (
	"context"
	"hash/maphash"
	"io"
	"sync"
	"sync/atomic"
)

// NewMem returns an empty store in memory. It is durable as long as the process
// lives: for tests and for development.
func NewMem() Store {
	m := &mem{hub: NewHub(0), seed: maphash.MakeSeed()}
	m.state.Store(&memState{})
	return m
}

// mem keeps all pairs in an immutable tree: a reader takes the current state
// and needs no lock, a snapshot is that state, and a commit builds the next.
type mem struct {
	state atomic.Pointer[memState] // nil once closed
	mu    sync.Mutex               // held by the commit that makes the next state, and by Close
	hub   *Hub
	seed  maphash.Seed
}

type memState struct {
	root  *memNode
	head  Rev
	count int
}

func (m *mem) load(ctx context.Context) (*memState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := m.state.Load()
	if s == nil {
		return nil, ErrClosed
	}
	return s, nil
}

func (m *mem) Get(ctx context.Context, key string) (KV, Rev, error) {
	s, err := m.load(ctx)
	if err != nil {
		return KV{}, 0, err
	}
	if err := CheckKey(key); err != nil {
		return KV{}, 0, err
	}
	n := s.root.find(key)
	if n == nil {
		return KV{Key: key}, s.head, nil
	}
	return n.kv(), s.head, nil
}

func (m *mem) Range(ctx context.Context, from, to string, limit int) ([]KV, Rev, error) {
	s, err := m.load(ctx)
	if err != nil {
		return nil, 0, err
	}
	if limit <= 0 {
		limit = DefaultLimit
	}
	var kvs []KV
	s.root.walk(from, to, func(n *memNode) bool {
		kvs = append(kvs, n.kv())
		return len(kvs) < limit
	})
	return kvs, s.head, nil
}

func (m *mem) Commit(ctx context.Context, conds []Cond, ops []Op) (Rev, bool, error) {
	if err := CheckCommit(conds, ops); err != nil {
		return 0, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.load(ctx)
	if err != nil {
		return 0, false, err
	}
	for _, c := range conds {
		var rev Rev
		if n := s.root.find(c.Key); n != nil {
			rev = n.rev
		}
		if rev != c.Rev {
			return s.head, false, nil
		}
	}
	next := &memState{root: s.root, head: s.head + 1, count: s.count}
	changed := make([]string, 0, len(ops))
	for _, op := range ops {
		old := next.root.find(op.Key)
		switch {
		case op.Val == nil && old == nil:
			continue
		case op.Val == nil:
			next.root = next.root.without(op.Key)
			next.count--
		default:
			if old == nil {
				next.count++
			}
			next.root = next.root.with(&memNode{
				key:  op.Key,
				val:  append(make([]byte, 0, len(op.Val)), op.Val...),
				rev:  next.head,
				prio: maphash.String(m.seed, op.Key),
			})
		}
		changed = append(changed, op.Key)
	}
	if len(changed) == 0 {
		return s.head, true, nil
	}
	m.state.Store(next)
	m.hub.Publish(changed)
	return next.head, true, nil
}

func (m *mem) Watch(ctx context.Context, prefix string, from Rev) (<-chan Batch, error) {
	return m.hub.Watch(ctx, prefix, from)
}

func (m *mem) Head(ctx context.Context) (Rev, error) {
	s, err := m.load(ctx)
	if err != nil {
		return 0, err
	}
	return s.head, nil
}

func (m *mem) Snapshot(ctx context.Context, w io.Writer) error {
	s, err := m.load(ctx)
	if err != nil {
		return err
	}
	sw, err := NewSnapshotWriter(w, s.head, s.count)
	if err != nil {
		return err
	}
	s.root.walk("", "", func(n *memNode) bool {
		if err = ctx.Err(); err == nil {
			err = sw.Add(n.key, n.val)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	return sw.Close()
}

func (m *mem) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Store(nil)
	m.hub.Close()
	return nil
}

// memNode is a node of a treap: ordered by key, and a heap by prio, a hash of
// the key, which keeps it shallow. Nodes are never changed once they are
// reachable: with and without copy the path to what they change.
type memNode struct {
	key         string
	val         []byte
	rev         Rev
	prio        uint64
	left, right *memNode
}

func (n *memNode) kv() KV {
	return KV{Key: n.key, Val: append(make([]byte, 0, len(n.val)), n.val...), Rev: n.rev}
}

func (n *memNode) find(key string) *memNode {
	for n != nil && n.key != key {
		if key < n.key {
			n = n.left
		} else {
			n = n.right
		}
	}
	return n
}

// walk calls f for the nodes with from <= key < to in order, until it returns
// false, and reports whether it never did. An empty to is no bound.
func (n *memNode) walk(from, to string, f func(*memNode) bool) bool {
	if n == nil {
		return true
	}
	if n.key < from {
		return n.right.walk(from, to, f)
	}
	if to != "" && n.key >= to {
		return n.left.walk(from, to, f)
	}
	return n.left.walk(from, to, f) && f(n) && n.right.walk(from, to, f)
}

// with returns the tree with node x in it, which replaces one of the same key.
func (n *memNode) with(x *memNode) *memNode {
	if n == nil {
		return x
	}
	if n.key == x.key {
		x.left, x.right = n.left, n.right
		return x
	}
	c := *n
	if x.key < n.key {
		c.left = n.left.with(x)
		if l := c.left; l.prio > c.prio {
			// c.left is not shared yet: with has just made it.
			c.left, l.right = l.right, &c
			return l
		}
		return &c
	}
	c.right = n.right.with(x)
	if r := c.right; r.prio > c.prio {
		c.right, r.left = r.left, &c
		return r
	}
	return &c
}

// without returns the tree without key, which is in it.
func (n *memNode) without(key string) *memNode {
	if n.key == key {
		return merge(n.left, n.right)
	}
	c := *n
	if key < n.key {
		c.left = n.left.without(key)
	} else {
		c.right = n.right.without(key)
	}
	return &c
}

// merge joins two trees, all keys of a below those of b.
func merge(a, b *memNode) *memNode {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.prio > b.prio:
		c := *a
		c.right = merge(a.right, b)
		return &c
	default:
		c := *b
		c.left = merge(a, b.left)
		return &c
	}
}
