// Package operator is the operator's plane: the control socket and the service
// keyreeve.
//
// The control socket ([Listen], [Control]) is a Unix socket in the data
// directory, for what must work on a sealed node or before anybody has
// credentials: to look at the seal, close it and open it, and to learn the
// administrator's credentials. The kernel says who is at the other end, and
// only the node's own user and root are answered. [Client] is the other end.
//
// All else goes through the service keyreeve ([Service]) on the main listener:
// signed, authorized and on record like every call. [Remote] is its client.
package operator
