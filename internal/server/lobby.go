package server

import (
	"net/http"
	"sync"
	"time"
)

// A lobby is where requests are while their bodies are read, before anybody
// knows whether who sends them may ask for anything. It has so many places. When
// all are taken, the request that has been there longest is cut for the new one:
// halves of requests, however many are sent, push out halves of requests, while
// one that comes at once is read and gone.
//
// The places are in several rooms, so that requests rarely meet at a lock.
type lobby struct{ rooms [16]room }

func (l *lobby) init(places int) {
	for i := range l.rooms {
		l.rooms[i].places = max(1, (places+len(l.rooms)-1)/len(l.rooms))
	}
}

// room returns the room of a request. Its id is random, and nobody knows it
// before.
func (l *lobby) room(id string) *room {
	n := id[0] - '0' // a hexadecimal digit
	if id[0] >= 'a' {
		n = id[0] - 'a' + 10
	}
	return &l.rooms[int(n)%len(l.rooms)]
}

// close cuts whoever is in the lobby, and whoever enters it from now on.
func (l *lobby) close() {
	for i := range l.rooms {
		l.rooms[i].close()
	}
}

// count returns how many places are taken.
func (l *lobby) count() (n int) {
	for i := range l.rooms {
		n += l.rooms[i].count()
	}
	return n
}

// A room has so many places for visitors.
type room struct {
	places int

	mu     sync.Mutex // guards what follows, and the visitors
	taken  int
	closed bool
	// Those who may be cut. Others have a place and have settled.
	oldest, newest *visitor

	_ [64]byte // rooms share no cache line
}

// A visitor is a request in a room. It is used for one room, and again once it
// has left it; the zero value is ready.
type visitor struct {
	w            http.ResponseWriter // answers the request; its connection is what is cut
	older, newer *visitor
	listed       bool // is in the room's list
	placed       bool // has a place
	cut          bool
}

// enter takes a place for v, if need be that of the oldest visitor who has not
// settled. It is false if all have.
func (r *room) enter(v *visitor, w http.ResponseWriter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	*v = visitor{w: w, placed: true}
	switch {
	case r.taken < r.places:
		r.taken++
	case r.oldest != nil:
		r.oldest.placed = false // it is v's now
		r.cut(r.oldest)
	default:
		v.placed = false
		return false
	}
	v.listed = true
	v.older = r.newest
	if r.newest != nil {
		r.newest.newer = v
	} else {
		r.oldest = v
	}
	r.newest = v
	if r.closed {
		r.cut(v)
	}
	return true
}

// settle keeps v's place for it until it leaves: it can't be cut any more. It
// returns whether it was.
func (r *room) settle(v *visitor) (cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unlist(v)
	return v.cut
}

// leave gives v's place up, if it has one, and returns whether v was cut. It has
// to be called before the handler of v's request returns.
func (r *room) leave(v *visitor) (cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unlist(v)
	if v.placed {
		v.placed = false
		r.taken--
	}
	v.w = nil
	return v.cut
}

// cut has v's reading fail. The lock is held, so v's handler has not returned
// and its ResponseWriter may be used.
func (r *room) cut(v *visitor) {
	r.unlist(v)
	v.cut = true
	// A writer that has no deadlines is no connection.
	_ = http.NewResponseController(v.w).SetReadDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

func (r *room) unlist(v *visitor) {
	if !v.listed {
		return
	}
	if v.older != nil {
		v.older.newer = v.newer
	} else {
		r.oldest = v.newer
	}
	if v.newer != nil {
		v.newer.older = v.older
	} else {
		r.newest = v.older
	}
	v.listed, v.older, v.newer = false, nil, nil
}

func (r *room) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for r.oldest != nil {
		r.cut(r.oldest)
	}
}

func (r *room) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}
