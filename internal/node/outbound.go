package node

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"

	"github.com/keyreeve/keyreeve/internal/outbound"
)

// openOutbound makes the dialer for what tenants may name, as the configuration
// allows it.
func (n *Node) openOutbound() error {
	c := &n.c.Outbound
	o := outbound.Options{Allow: c.Allow, Resolve: make(map[string]netip.AddrPort, len(c.Resolve)), Now: n.c.Now}
	var err error
	if o.Networks, err = c.Prefixes(); err != nil {
		return fmt.Errorf("outbound.networks: %w", err)
	}
	resolved, err := c.Resolved()
	if err != nil {
		return fmt.Errorf("outbound.resolve: %w", err)
	}
	for _, r := range resolved {
		o.Resolve[r.Host] = r.At
	}
	if c.TrustedCA != "" {
		pem, err := os.ReadFile(c.TrustedCA)
		if err != nil {
			return fmt.Errorf("reading outbound.trusted_ca: %w", err)
		}
		o.Roots = x509.NewCertPool()
		if !o.Roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("outbound.trusted_ca: no certificate in %s", c.TrustedCA)
		}
	}
	n.outbound = outbound.New(o)
	return nil
}
