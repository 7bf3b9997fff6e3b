// Package interop is a client under test: the AWS SDK for Go v2 against a
// running keyreeve. Its tests are run by interop/with-server, which starts the
// server and sets the environment; without it they fail. The server is to have
// the setting "grants: {delay: 5m}", so that grant tokens make a difference.
package interop
