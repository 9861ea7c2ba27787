package address_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/address"
)

func unix(pairs ...string) address.Address {
	a := address.Address{Transport: "unix"}
	for i := 0; i < len(pairs); i += 2 {
		a.Params = append(a.Params, address.Param{Key: pairs[i], Value: pairs[i+1]})
	}
	return a
}

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []address.Address
	}{
		{"one address", "unix:path=/tmp/bus", []address.Address{unix("path", "/tmp/bus")}},
		{"several keys keep their order", "unix:path=/b,guid=00,x-y_z=1",
			[]address.Address{unix("path", "/b", "guid", "00", "x-y_z", "1")}},
		{"a list", "unix:path=/a;unix:abstract=b", []address.Address{unix("path", "/a"), unix("abstract", "b")}},
		{"a list may end in a semicolon", "unix:path=/a;", []address.Address{unix("path", "/a")}},
		{"an address may end in a comma", "unix:path=/a,", []address.Address{unix("path", "/a")}},
		{"no parameters", "systemd:", []address.Address{{Transport: "systemd"}}},
		{"escaped bytes", "unix:path=/tmp/%c3%A4%20%3b%2C%25", []address.Address{unix("path", "/tmp/ä ;,%")}},
		{"bytes escaped without need", "unix:path=%2ftmp%2F%61", []address.Address{unix("path", "/tmp/a")}},
		{"asterisk and backslash stand for themselves", `unix:path=/a*b\c`, []address.Address{unix("path", `/a*b\c`)}},
		{"any byte", "unix:abstract=%00%ff", []address.Address{unix("abstract", "\x00\xff")}},
		{"a transport this module does not speak", "nonce-tcp:host=localhost,port=1",
			[]address.Address{{Transport: "nonce-tcp", Params: []address.Param{{Key: "host", Value: "localhost"}, {Key: "port", Value: "1"}}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := address.Parse(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("Parse(%q): -want +got\n%s", test.text, diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name string
		text string
		part string // Error.Part
		says string // within Error.Reason
	}{
		{"nothing", "", "the address", "is empty"},
		{"only a semicolon", ";", "the transport", "colon"},
		{"an empty address in a list", "unix:path=/a;;unix:path=/b", "the transport", "colon"},
		{"a path alone", "/tmp/bus", "the transport", "colon"},
		{"no transport", ":path=/a", "the transport", "empty"},
		{"a blank in the transport", "un ix:path=/a", "the transport", "' '"},
		{"no equals sign", "unix:path", `the parameter "path"`, "equals sign"},
		{"no key", "unix:=/a", `the parameter "=/a"`, "no key"},
		{"no value", "unix:path=", `the value of "path"`, "empty"},
		{"an empty parameter", "unix:path=/a,,guid=00", `the parameter ""`, "equals sign"},
		{"only a comma", "unix:,", `the parameter ""`, "equals sign"},
		{"a key given twice", "unix:path=/a,path=/b", `the key "path"`, "twice"},
		{"a blank in a key", "unix:pa th=/a", `the key "pa th"`, "other than"},
		{"a blank unescaped", "unix:path=/a b", `the value of "path"`, "write %20"},
		{"an equals sign unescaped", "unix:path=/a=b", `the value of "path"`, "write %3D"},
		{"UTF-8 unescaped", "unix:path=/ä", `the value of "path"`, "write %C3"},
		{"half an escape", "unix:path=/a%2", `the value of "path"`, "%25"},
		{"a percent sign at the end", "unix:path=/a%", `the value of "path"`, "%25"},
		{"an escape that is not hexadecimal", "unix:path=%zz", `the value of "path"`, "%25"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := address.Parse(test.text)
			var e *address.Error
			if !errors.As(err, &e) {
				t.Fatalf("Parse(%q) = %v, %v; want an *address.Error", test.text, got, err)
			}
			if e.Part != test.part || !strings.Contains(e.Reason, test.says) {
				t.Errorf("part %q, reason %q; want %q and a reason with %q", e.Part, e.Reason, test.part, test.says)
			}
		})
	}
}

func TestParseOneRefusesAList(t *testing.T) {
	if a, err := address.ParseOne("unix:path=/a;unix:path=/b"); err == nil {
		t.Errorf("got %v", a)
	}
	if a, err := address.ParseOne("unix:path=/a"); err != nil || a.String() != "unix:path=/a" {
		t.Errorf("got %v, %v", a, err)
	}
}

func TestFormat(t *testing.T) {
	list := []address.Address{
		unix("path", "/tmp/ä b\\", "guid", "00"),
		{Transport: "systemd"},
	}
	const want = "unix:path=/tmp/%C3%A4%20b%5C,guid=00;systemd:"
	if got := address.Format(list); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWith(t *testing.T) {
	a := unix("path", "/a", "guid", "00")
	tests := []struct {
		name, key, value, want string
	}{
		{"a new key comes last", "x", "1", "unix:path=/a,guid=00,x=1"},
		{"an old key keeps its place", "path", "/b", "unix:path=/b,guid=00"},
		{"an empty value removes the key", "path", "", "unix:guid=00"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := a.With(test.key, test.value).String(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got := a.String(); got != "unix:path=/a,guid=00" {
				t.Errorf("the receiver changed to %s", got)
			}
		})
	}
}

func TestListenable(t *testing.T) {
	long := strings.Repeat("x", address.MaxUnixPath)
	tests := []struct {
		text string
		says string // "" when it is listenable
	}{
		{"unix:path=/a", ""},
		{"unix:path=" + long, ""},
		{"unix:abstract=a", ""},
		{"unix:dir=/tmp", ""},
		{"unix:tmpdir=/tmp", ""},
		{"unix:runtime=yes", ""},
		{"unix:path=/a,mode=0600", ""},
		{"systemd:", ""},
		{"unix:path=/a,guid=0123456789abcdefABCDEF0123456789", ""},
		{"unix:", "path, abstract, dir, tmpdir, runtime"},
		{"unix:path=/a,tmpdir=/tmp", "path, tmpdir exclude each other"},
		{"unix:runtime=no", `must be "yes"`},
		{"unix:path=x" + long, "has 108 bytes"},
		{"unix:path=/a%00b", "NUL"},
		{"unix:path=/a,guid=00", "not 2 characters"},
		{"unix:path=/a,guid=0123456789abcdefABCDEF012345678z", "'z' is none"},
		{"tcp:", ""},
		{"tcp:host=localhost,port=0,bind=*,family=ipv4", ""},
		{"nonce-tcp:host=%3a%3a1,port=65535,family=ipv6", ""},
		{"tcp:port=65536", "from 0 to 65535"},
		{"tcp:port=-1", "from 0 to 65535"},
		{"tcp:port=http", "from 0 to 65535"},
		{"tcp:family=inet", `"ipv4" or "ipv6"`},
		{"tcp:host=a%00b", "NUL"},
		{"tcp:guid=00", "not 2 characters"},
		{"nonce-tcp:noncefile=/a", "is for clients"},
		{"autolaunch:", "start a bus of their own"},
		{"launchd:env=A", "launchd of macOS"},
		{"unixexec:path=/a", "is for clients"},
		{"vsock:cid=1", `"vsock" is not supported`},
		{"x:", `"x" is not one to listen on`},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) { checkVerdict(t, test.text, address.Address.Listenable, test.says) })
	}
}

func TestConnectable(t *testing.T) {
	tests := []struct {
		text string
		says string
	}{
		{"unix:path=/a", ""},
		{"unix:abstract=a", ""},
		{"unix:dir=/tmp", "is for servers"},
		{"unix:tmpdir=/tmp", "is for servers"},
		{"unix:runtime=yes", "is for servers"},
		{"unix:", "needs one of"},
		{"tcp:host=localhost,port=1", ""},
		{"tcp:port=1,bind=*", ""},
		{"tcp:host=localhost", "needs the port"},
		{"tcp:host=localhost,port=0", "needs the port"},
		{"nonce-tcp:host=localhost,port=1,noncefile=/a", ""},
		{"nonce-tcp:host=localhost,port=1", "needs the key noncefile"},
		{"systemd:", "is for servers"},
		{"autolaunch:", "has the client start a bus"},
		{"launchd:env=A", "launchd of macOS"},
		{"unixexec:path=/bin/true", "not supported"},
		{"x:", "not supported"},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) { checkVerdict(t, test.text, address.Address.Connectable, test.says) })
	}
}

func checkVerdict(t *testing.T, text string, verdict func(address.Address) error, says string) {
	t.Helper()
	a, err := address.ParseOne(text)
	if err != nil {
		t.Fatal(err)
	}
	err = verdict(a)
	if says == "" {
		if err != nil {
			t.Errorf("got %v, want no error", err)
		}
		return
	}
	var e *address.Error
	if !errors.As(err, &e) || !strings.Contains(e.Reason, says) {
		t.Errorf("got %v, want a reason with %q", err, says)
	}
}

func TestUnixName(t *testing.T) {
	tests := []struct{ text, want string }{
		{"unix:path=/tmp/bus", "/tmp/bus"},
		{"unix:abstract=/tmp/bus", "@/tmp/bus"},
		{"unix:path=%40file", "./@file"},
	}
	for _, test := range tests {
		a, err := address.ParseOne(test.text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.UnixName(); err != nil || got != test.want {
			t.Errorf("%s: got %q, %v; want %q", test.text, got, err, test.want)
		}
	}
}

func TestConstructorsMakeConnectableAddresses(t *testing.T) {
	if got := address.UnixPath("/tmp/a b").String(); got != "unix:path=/tmp/a%20b" {
		t.Error(got)
	}
	if got := address.UnixAbstract("x").String(); got != "unix:abstract=x" {
		t.Error(got)
	}
}

func TestEscapeIsUndoneByUnescape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := string(rapid.SliceOf(rapid.Byte()).Draw(t, "value"))
		escaped := address.Escape(value)
		if strings.ContainsAny(escaped, ";,=: ") {
			t.Fatalf("Escape(%q) = %q has a byte of the grammar", value, escaped)
		}
		got, err := address.Unescape(escaped)
		if err != nil || got != value {
			t.Fatalf("Unescape(%q) = %q, %v; want %q", escaped, got, err, value)
		}
	})
}

func TestUnescapeNamesTheValue(t *testing.T) {
	_, err := address.Unescape("a b")
	if err == nil || !strings.Contains(err.Error(), `"a b": the value has the byte ' ' unescaped; write %20`) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"unix:path=/tmp/bus,guid=0123456789abcdef0123456789abcdef",
		"unix:runtime=yes;unix:tmpdir=/tmp", "systemd:", "unix:abstract=%00%ff*\\", "a:b=c,;", ";;", ":,=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := address.Parse(text)
		if err != nil {
			var e *address.Error
			if !errors.As(err, &e) || e.Part == "" || e.Reason == "" {
				t.Fatalf("an error without part or reason: %#v", err)
			}
			return
		}
		// What is written is read as what was written.
		again, err := address.Parse(address.Format(list))
		if err != nil {
			t.Fatalf("Parse(Format(%v)): %v", list, err)
		}
		if diff := cmp.Diff(list, again); diff != "" {
			t.Fatal(diff)
		}
		for _, a := range list {
			// An address one can connect to is one a server can be at.
			if a.Connectable() == nil && a.Listenable() != nil {
				t.Fatalf("%v is connectable and not listenable", a)
			}
		}
	})
}
