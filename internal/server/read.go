package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/wire"
)

// read reads the request's body into in, unless the request is refused already;
// then, and when the body is too long, what is left of it is read and thrown
// away, within limits: many clients send all of a request before they look for
// an answer, and find the connection broken if it was closed meanwhile. refused
// is why, or nil; what read returns takes its place.
func (s *Server) read(w http.ResponseWriter, r *http.Request, c *call.Call, in *input, limit int, refused *wire.Error) *wire.Error {
	if r.ContentLength == 0 {
		return refused
	}
	in.unread = true
	room := s.lobby.room(c.ID)
	room.enter(&in.visitor, w) // nobody settles there, so there is a place
	defer room.leave(&in.visitor)
	e := refused
	if e == nil {
		e = s.readBody(w, r, in, limit)
	}
	if e != nil && e != tooSlow && e != brokenBody {
		in.drop(r, s.limits.Drop)
	}
	if refused != nil {
		return refused
	}
	cut := room.leave(&in.visitor)
	if in.isLarge && s.large.settle(&in.large) {
		cut = true
	}
	if e == nil {
		return nil
	}
	if cut && e == tooSlow {
		e = tooBusy
		s.logCut(c)
	}
	return s.refuse(e)
}

// leaveLarge gives up the place among the large requests.
func (s *Server) leaveLarge(in *input) {
	if in.isLarge {
		s.large.leave(&in.large)
	}
}

// logCut logs, within limits, that a request was cut while it was read.
func (s *Server) logCut(c *call.Call) {
	if s.draining.Load() {
		return
	}
	if suppressed, ok := s.alarm.ring(c.Time); ok {
		s.log.Warn("a request was cut while it was read, to read others", "source", c.Source.String(),
			"request_id", c.ID, "not_logged_before", suppressed)
	}
}

// readBody reads the body if it is no longer than limit. The buffer grows with
// what comes, not with what was announced: who sends it is not known yet.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, in *input, limit int) *wire.Error {
	if r.ContentLength > int64(limit) {
		return tooLarge(limit)
	}
	for {
		if n := cap(in.b); len(in.b) == n {
			if n >= smallInput && !in.isLarge {
				if !s.large.enter(&in.large, w) {
					return tooBusy
				}
				in.isLarge = true
			}
			want := min(4*n, limit+1)
			switch {
			case n < smallInput:
				want = smallInput
			case r.ContentLength > 0:
				want = min(want, int(r.ContentLength)+1)
			}
			in.grow(want)
		}
		n, err := r.Body.Read(in.b[len(in.b):cap(in.b)])
		in.b = in.b[:len(in.b)+n]
		switch {
		case len(in.b) > limit:
			in.unread = !errors.Is(err, io.EOF)
			return tooLarge(limit)
		case err == nil:
		case errors.Is(err, io.EOF):
			in.unread = false
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return tooSlow
		default:
			return brokenBody
		}
	}
}

// drop reads what is left of the body, at most so many bytes, and keeps nothing
// of it. A longer one is not begun with, if that is known, nor one that the
// client sends only when told to.
func (in *input) drop(r *http.Request, most int) {
	if !in.unread || r.ContentLength > int64(most) || expectsContinue(r) {
		return
	}
	in.b = in.b[:cap(in.b)] // all of it is to be wiped
	for most > 0 {
		n, err := r.Body.Read(in.b[:min(len(in.b), most)])
		most -= n
		if err != nil {
			in.unread = !errors.Is(err, io.EOF)
			return
		}
	}
}

func expectsContinue(r *http.Request) bool {
	v := r.Header["Expect"]
	return len(v) > 0 && strings.Contains(strings.ToLower(v[0]), "100-continue")
}
