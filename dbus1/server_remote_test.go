package dbus1_test

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/keyring"
	"github.com/kdbus-go/kdbus/transport"
	"github.com/kdbus-go/kdbus/wire"
)

// remoteServer is a server that also listens on TCP.
type remoteServer struct {
	*testServer
	address string
	keyring string // a directory
	ring    *keyring.Ring
}

// nonce is what clients of a remoteServer with a nonce begin with.
var nonce = [transport.NonceSize]byte{1, 2, 3, 0, 255}

func startRemote(t *testing.T, withNonce bool, change ...func(*dbus1.Config)) *remoteServer {
	t.Helper()
	r := &remoteServer{keyring: filepath.Join(t.TempDir(), ".dbus-keyrings")}
	r.ring = keyring.At(r.keyring)
	r.testServer = startServer(t, append(change, func(c *dbus1.Config) { c.Keyring = r.ring })...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	served := make(chan error, 1)
	go func() {
		if withNonce {
			served <- r.ServeNonce(l, testGUID, nonce)
		} else {
			served <- r.Serve(l, testGUID)
		}
	}()
	t.Cleanup(func() {
		r.stop()
		<-served
		l.Close()
	})
	return r
}

// dialRemote connects over TCP, and says what comes first.
func (r *remoteServer) dialRemote(t *testing.T, first string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{conn: conn.(*net.TCPConn), order: wire.LittleEndian}
	t.Cleanup(c.close)
	if err := c.write([]byte(first)); err != nil {
		t.Fatal(err)
	}
	return c
}

// command says a line and returns the answer.
func (c *client) command(t *testing.T, line string) string {
	t.Helper()
	if err := c.write([]byte(line + "\r\n")); err != nil {
		t.Fatal(err)
	}
	c.conn.SetReadDeadline(time.Now().Add(patience))
	var answer []byte
	for !strings.HasSuffix(string(answer), "\r\n") { // no more than that
		var b [1]byte
		if _, err := c.conn.Read(b[:]); err != nil {
			t.Fatalf("after %q: %v", line, err)
		}
		answer = append(answer, b[0])
	}
	return strings.TrimSuffix(string(answer), "\r\n")
}

// prove authenticates by the cookie of the keyring, as identity.
func (c *client) prove(t *testing.T, ring *keyring.Ring, identity string) {
	t.Helper()
	asked := c.command(t, "AUTH DBUS_COOKIE_SHA1 "+hex.EncodeToString([]byte(identity)))
	data, err := hex.DecodeString(strings.TrimPrefix(asked, "DATA "))
	if err != nil {
		t.Fatalf("the answer is %q", asked)
	}
	var context, challenge string
	var id int32
	if _, err := fmt.Sscan(string(data), &context, &id, &challenge); err != nil {
		t.Fatalf("the challenge is %q: %v", data, err)
	}
	cookie, err := ring.Find(context, id)
	if err != nil {
		t.Fatal(err)
	}
	const own = "c11e47"
	if got := c.command(t, "DATA "+hex.EncodeToString([]byte(own+" "+cookie.Hash(challenge, own)))); got != "OK "+testGUID {
		t.Fatalf("the answer is %q", got)
	}
}

// begin ends the authentication and gets onto the bus.
func (c *client) begin(t *testing.T) {
	t.Helper()
	if err := c.write([]byte("BEGIN\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.hello(); err != nil {
		t.Fatal(err)
	}
}

// credentials are what the driver knows of a peer.
func (c *client) credentials(t *testing.T, name string) map[string]any {
	t.Helper()
	var known map[string]wire.Variant
	if err := c.must(t, "GetConnectionCredentials", name).Decode(&known); err != nil {
		t.Fatal(err)
	}
	values := make(map[string]any)
	for key, v := range known {
		values[key] = v.Value
	}
	return values
}

func TestRemotePeerIsWhoKnowsTheCookie(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	self := uint32(os.Getuid())
	type question struct {
		uid    uint32
		groups []uint32
	}
	questions := make(chan question, 1)
	r := startRemote(t, false, func(c *dbus1.Config) {
		c.AllowUser = func(uid uint32, groups []uint32) error {
			questions <- question{uid, groups}
			return nil
		}
	})
	for _, identity := range []string{me.Uid, me.Username} {
		c := r.dialRemote(t, "\x00")
		c.prove(t, r.ring, identity)
		c.begin(t)
		if asked := <-questions; asked.uid != self || !slices.Contains(asked.groups, uint32(os.Getgid())) {
			t.Errorf("it was asked about user %d with groups %d", asked.uid, asked.groups)
		}
		if diff := cmp.Diff(map[string]any{"UnixUserID": self}, c.credentials(t, c.name)); diff != "" {
			t.Errorf("credentials, -want +got:\n%s", diff)
		}
		var uid uint32
		if err := c.must(t, "GetConnectionUnixUser", c.name).Decode(&uid); err != nil || uid != self {
			t.Errorf("user %d, %v", uid, err)
		}
		c.mustFail(t, "UnixProcessIdUnknown", c.newMessage(wire.TypeMethodCall, driver, "GetConnectionUnixProcessID", c.name))
		c.mustFail(t, "SELinuxSecurityContextUnknown", c.newMessage(wire.TypeMethodCall, driver, "GetConnectionSELinuxSecurityContext", c.name))
		c.must(t, "UpdateActivationEnvironment", map[string]string{"A": "b"}) // as the user of the bus may
	}
}

func TestRemotePeersTalkToLocalOnes(t *testing.T) {
	r := startRemote(t, false)
	local, remote := r.connectAs(t, wire.LittleEndian, true), r.dialRemote(t, "\x00")
	remote.prove(t, r.ring, fmt.Sprint(os.Getuid()))
	if got := remote.command(t, "NEGOTIATE_UNIX_FD"); !strings.HasPrefix(got, "ERROR ") {
		t.Errorf("descriptors over TCP: %q", got)
	}
	if got := remote.command(t, "NEGOTIATE_KDBUS 1"); !strings.HasPrefix(got, "ERROR ") {
		t.Errorf("the native protocol over TCP: %q", got)
	}
	remote.begin(t)
	content := strings.Repeat("long", 1<<20) // several times what a socket holds
	for range 3 {
		for _, pair := range [][2]*client{{local, remote}, {remote, local}} {
			from, to := pair[0], pair[1]
			from.mustSend(t, from.newMessage(wire.TypeMethodCall, to.name, "Call", content))
			var got string
			if m := to.mustNext(t); m.Decode(&got) != nil || got != content {
				t.Fatalf("%d bytes arrived in %s", len(got), m)
			}
		}
	}
	p := newPipe(t)
	local.mustFail(t, "NotSupported", local.newMessage(wire.TypeMethodCall, remote.name, "Call", wire.UnixFD(0)), p.w)
}

func TestRemotePeersThatAreNotLetIn(t *testing.T) {
	self := fmt.Sprintf("%x", fmt.Sprint(os.Getuid()))
	tests := []struct {
		name   string
		change func(*dbus1.Config)
		says   string
		want   string
	}{
		{"with nothing to prove", nil, "AUTH EXTERNAL " + self, "REJECTED DBUS_COOKIE_SHA1"},
		{"with an answer to nothing", nil, "AUTH EXTERNAL", "REJECTED DBUS_COOKIE_SHA1"},
		{"as somebody else", nil, "AUTH DBUS_COOKIE_SHA1 " + fmt.Sprintf("%x", fmt.Sprint(os.Getuid()+1)), "REJECTED DBUS_COOKIE_SHA1"},
		{"as somebody else by name", nil, "AUTH DBUS_COOKIE_SHA1 " + fmt.Sprintf("%x", "nobody"), "REJECTED DBUS_COOKIE_SHA1"},
		{"as nobody", nil, "AUTH ANONYMOUS", "REJECTED DBUS_COOKIE_SHA1"},
		{"where only the kernel is believed", func(c *dbus1.Config) { c.Mechanisms = []string{"EXTERNAL"} }, "AUTH DBUS_COOKIE_SHA1 " + self, "REJECTED EXTERNAL"},
		{"where only the kernel is believed, who knows nothing", func(c *dbus1.Config) { c.Mechanisms = []string{"EXTERNAL"} }, "AUTH EXTERNAL " + self, "REJECTED EXTERNAL"},
		{"where only nobody is let in", func(c *dbus1.Config) { c.Mechanisms, c.AllowAnonymous = []string{"ANONYMOUS"}, true },
			"AUTH DBUS_COOKIE_SHA1 " + self, "REJECTED ANONYMOUS"},
		{"as nobody, where that is on the list but not allowed", func(c *dbus1.Config) { c.Mechanisms = []string{"ANONYMOUS"} },
			"AUTH ANONYMOUS", "REJECTED"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := startRemote(t, false, func(c *dbus1.Config) {
				if test.change != nil {
					test.change(c)
				}
			})
			if got := r.dialRemote(t, "\x00").command(t, test.says); got != test.want {
				t.Errorf("the answer is %q, want %q", got, test.want)
			}
		})
	}
}

func TestRemotePeersThatAreNobody(t *testing.T) {
	r := startRemote(t, false, func(c *dbus1.Config) { c.AllowAnonymous = true })
	c := r.dialRemote(t, "\x00")
	if got := c.command(t, "AUTH ANONYMOUS"); got != "OK "+testGUID {
		t.Fatalf("the answer is %q", got)
	}
	c.begin(t)
	if diff := cmp.Diff(map[string]any{}, c.credentials(t, c.name)); diff != "" {
		t.Errorf("credentials, -want +got:\n%s", diff)
	}
	c.mustFail(t, "Failed", c.newMessage(wire.TypeMethodCall, driver, "GetConnectionUnixUser", c.name))
	c.mustFail(t, "AccessDenied", c.newMessage(wire.TypeMethodCall, driver, "UpdateActivationEnvironment", map[string]string{"A": "b"}))
}

func TestNonceComesFirst(t *testing.T) {
	tests := []struct {
		name  string
		first string
		in    bool
	}{
		{"the nonce", string(nonce[:]), true},
		{"another one", strings.Repeat("\x00", len(nonce)), false},
		{"none", "\x00AUTH DBUS_COOKIE_SHA1\r\n", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := startRemote(t, true)
			c := r.dialRemote(t, test.first[:1])
			c.write([]byte(test.first[1:]))
			if !test.in {
				if err := c.disconnected(); err != nil {
					t.Error(err)
				}
				eventually(t, "the log says why", func() bool { return r.log.has("disconnecting", "not the nonce") })
				return
			}
			c.write([]byte{0})
			c.prove(t, r.ring, fmt.Sprint(os.Getuid()))
			c.begin(t)
			c.must(t, "GetId")
		})
	}
}

// What cannot be offered does not end anything but the attempt, and the log says why.
func TestKeyringThatCannotBeUsed(t *testing.T) {
	r := startRemote(t, false)
	if err := os.WriteFile(r.keyring, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := r.dialRemote(t, "\x00")
	if got := c.command(t, fmt.Sprintf("AUTH DBUS_COOKIE_SHA1 %x", fmt.Sprint(os.Getuid()))); got != "REJECTED DBUS_COOKIE_SHA1" {
		t.Errorf("the answer is %q", got)
	}
	eventually(t, "the log says why", func() bool { return r.log.has("cannot authenticate", "not a directory") })
	r.connect(t).must(t, "GetId")
}

// A local peer may prove who it is by a cookie, too, where that is on the list.
func TestLocalPeerWithACookie(t *testing.T) {
	r := startRemote(t, false, func(c *dbus1.Config) { c.Mechanisms = []string{"DBUS_COOKIE_SHA1"} })
	c, err := r.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	c.write([]byte{0})
	c.prove(t, r.ring, fmt.Sprint(os.Getuid()))
	c.begin(t)
	if got := c.credentials(t, c.name)["ProcessID"]; got != uint32(os.Getpid()) {
		t.Errorf("process %v", got)
	}
}
