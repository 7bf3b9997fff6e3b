package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// TLSConfig returns the configuration of the API's listener: TLS 1.2 and 1.3,
// forward secrecy only, and the post-quantum hybrid X25519MLKEM768 for clients
// that offer it. Go chooses among what both sides have by an order of its own,
// in which the hybrid is first.
func TLSConfig(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		GetCertificate: certificate,
		MinVersion:     tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 all have forward secrecy
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384},
		NextProtos:       []string{"h2", "http/1.1"},
	}
}

// Serve serves the API on l, with TLS unless t is nil, until [Server.Shutdown]
// is called or accepting fails. It may be called for several listeners. After
// Shutdown it returns nil.
func (s *Server) Serve(l net.Listener, t *tls.Config) error {
	h := s.httpServer(s)
	h.TLSConfig = t
	h.MaxHeaderBytes = max(1, s.limits.HeaderBytes-headerSlop)
	// OPTIONS * is for the handler to refuse, too.
	h.DisableGeneralOptionsHandler = true
	h.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: s.limits.Streams,
		SendPingTimeout:      s.limits.Idle / 4,
		PingTimeout:          s.limits.ReadHeader,
		WriteByteTimeout:     s.limits.Write,
	}
	if !s.add(&s.servers, h) {
		return l.Close()
	}
	var err error
	if t != nil {
		err = h.ServeTLS(l, "", "")
	} else {
		err = h.Serve(l)
	}
	return served(l, err)
}

// headerSlop is by how many bytes a header of HTTP/1 may be longer than
// net/http's MaxHeaderBytes says.
const headerSlop = 4096

// ServePrivate serves [Server.Private] on l, without TLS, until
// [Server.Shutdown] is called or accepting fails.
func (s *Server) ServePrivate(l net.Listener) error {
	h := s.httpServer(s.Private())
	if !s.add(&s.private, h) {
		return l.Close()
	}
	return served(l, h.Serve(l))
}

func served(l net.Listener, err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving on %s: %w", l.Addr(), err)
}

func (s *Server) httpServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: s.limits.ReadHeader,
		ReadTimeout:       s.limits.Read,
		WriteTimeout:      s.limits.Write,
		IdleTimeout:       s.limits.Idle,
		ErrorLog:          log.New(httpLog{s.log}, "", 0),
	}
}

// httpLog takes what net/http logs. What clients do wrong below HTTP is for
// debugging; the rest, such as a lack of file descriptors, is for operators.
type httpLog struct{ log *slog.Logger }

func (l httpLog) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	level := slog.LevelWarn
	for _, prefix := range []string{"http: TLS handshake error", "http2: "} {
		if strings.HasPrefix(text, prefix) {
			level = slog.LevelDebug
		}
	}
	l.log.Log(context.Background(), level, "serving HTTP", "error", text)
	return len(p), nil
}

// add keeps h, to be shut down, unless that has already begun.
func (s *Server) add(to *[]*http.Server, h *http.Server) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	*to = append(*to, h)
	return true
}

const (
	readGrace  = 500 * time.Millisecond // for requests that are being read at Shutdown
	writeGrace = 50 * time.Millisecond  // for the answers to calls that Shutdown has canceled
)

// Shutdown stops accepting and waits for the calls that have begun, and for
// their answers to be written. Requests that have not been read within half a
// second are cut, as they are no calls yet. If ctx ends first, it cancels them, gives them
// a second to end, closes their connections, and returns ctx's error. /readyz
// says no from the beginning; the private listeners are closed last.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining.Store(true)
	servers, private := s.servers, s.private
	s.mu.Unlock()
	defer s.cancel()

	cut := time.AfterFunc(readGrace, func() {
		s.lobby.close()
		s.large.close()
	})
	defer cut.Stop()
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, h := range servers {
		wg.Go(func() { errs[i] = h.Shutdown(ctx) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	if err != nil {
		err = fmt.Errorf("waiting for calls to end: %w", err)
		s.cancel()
		last, cancel := context.WithTimeout(context.Background(), time.Second)
		s.gate.drained(last)
		cancel()
		time.Sleep(writeGrace)
		for _, h := range servers {
			_ = h.Close()
		}
	}
	for _, h := range private {
		_ = h.Close()
	}
	return err
}

// Private returns the handler of the private listener:
//
//	/healthz   200 while the process lives
//	/readyz    200 if calls are served, else 503 with the reason
//	/metrics   in Prometheus's text format
func (s *Server) Private() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answerProbe(w, nil)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		answerProbe(w, s.notReady())
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	return mux
}

func (s *Server) notReady() error {
	switch {
	case s.draining.Load():
		return errors.New("stopping")
	case s.Sealed():
		return errors.New("sealed")
	case s.ready != nil:
		return s.ready()
	}
	return nil
}

func answerProbe(w http.ResponseWriter, problem error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if problem != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, problem)
		return
	}
	fmt.Fprintln(w, "ok")
}
