package kdbus_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/kdbus-go/kdbus"
)

// echo is an object for tests.
type echo struct {
	block chan struct{} // Wait returns when it is closed
}

func (e *echo) Say(text string) (string, error) { return text, nil }

func (e *echo) Swap(a string, b uint32) (uint32, string, error) { return b, a, nil }

func (e *echo) Who(m *kdbus.Message) (string, error) { return m.Sender(), nil }

func (e *echo) Fail(name, text string) error {
	return kdbus.NewError(name, "%s", text)
}

func (e *echo) Plain() error { return errors.New("just so") }

func (e *echo) Wait(ctx context.Context) error {
	select {
	case <-e.block:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *echo) NotAMethod() string { return "" }

const (
	echoName  = "com.example.Echo"
	echoPath  = "/com/example/Echo"
	echoIface = "com.example.Echo"
)

// serveEcho starts a peer with an echo object and returns it as another peer sees it.
func serveEcho(t testing.TB, address string) (client, service *kdbus.Conn, obj kdbus.Object) {
	t.Helper()
	service = dial(t, address)
	if err := service.Export(echoPath, echoIface, &echo{block: make(chan struct{})}); err != nil {
		t.Fatal(err)
	}
	must(service.RequestName(testContext(t), echoName, kdbus.DoNotQueue))(t)
	client = dial(t, address)
	return client, service, client.Object(echoName, echoPath)
}

func TestMethodsAnswer(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		client, _, obj := serveEcho(t, address)
		ctx := testContext(t)
		if got := must(kdbus.Call[string](ctx, obj, echoIface+".Say", "grüße"))(t); got != "grüße" {
			t.Errorf("Say answered %q", got)
		}
		reply := must(obj.Call(ctx, echoIface+".Swap", "a", uint32(7)))(t)
		var n uint32
		var s string
		if err := reply.Decode(&n, &s); err != nil || n != 7 || s != "a" {
			t.Errorf("Swap answered %d, %q, %v", n, s, err)
		}
		if got := must(kdbus.Call[string](ctx, obj, echoIface+".Who"))(t); got != client.Name() {
			t.Errorf("the sender is %q, want %q", got, client.Name())
		}
		if reply.Metadata() != nil {
			t.Error("a D-Bus 1 message has metadata")
		}
	})
}

func TestLargeMessagesArriveWhole(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		_, _, obj := serveEcho(t, address)
		for _, size := range []int{0, 1, 4000, 32 << 10, 100_000, 3 << 20} {
			want := strings.Repeat("x", size)
			if got := must(kdbus.Call[string](testContext(t), obj, echoIface+".Say", want))(t); got != want {
				t.Errorf("of %d bytes, %d came back", size, len(got))
			}
		}
	})
}

func TestErrorsKeepTheirNames(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		client, _, obj := serveEcho(t, address)
		for _, test := range []struct {
			behaviour string
			obj       kdbus.Object
			method    string
			args      []any
			want      *kdbus.Error
			message   string
		}{
			{"an error of the service", obj, echoIface + ".Fail", []any{"com.example.Bad", "so sad"},
				&kdbus.Error{Name: "com.example.Bad"}, "so sad"},
			{"an error without a name", obj, echoIface + ".Plain", nil, kdbus.ErrFailed, "just so"},
			{"an error with a name that is none", obj, echoIface + ".Fail", []any{"no name", "x"}, kdbus.ErrFailed, "no name: x"},
			{"too few arguments", obj, echoIface + ".Say", nil, kdbus.ErrInvalidArgs, ""},
			{"an unknown method", obj, echoIface + ".NotAMethod", nil, kdbus.ErrUnknownMethod, ""},
			{"an unknown interface", obj, "com.example.Other.Say", nil, kdbus.ErrUnknownInterface, ""},
			{"an unknown object", client.Object(echoName, "/nowhere"), echoIface + ".Say", nil, kdbus.ErrUnknownObject, ""},
			{"an unknown name", client.Object("com.example.Nobody", "/"), "a.b.C", nil, kdbus.ErrServiceUnknown, ""},
			{"an unknown name that shall not be started", client.Object("com.example.Nobody", "/").With(kdbus.NoAutoStart), "a.b.C", nil,
				kdbus.ErrNameHasNoOwner, ""},
		} {
			_, err := test.obj.Call(testContext(t), test.method, test.args...)
			if !errors.Is(err, test.want) {
				t.Errorf("%s: the error is %v, want %v", test.behaviour, err, test.want)
				continue
			}
			var e *kdbus.Error
			if !errors.As(err, &e) || test.message != "" && e.Message != test.message {
				t.Errorf("%s: the error is %#v, want message %q", test.behaviour, e, test.message)
			}
		}
	})
}

func TestCallsThatCannotBeMadeSayWhy(t *testing.T) {
	client, _, obj := serveEcho(t, kinds["native"](t))
	for _, test := range []struct {
		obj    kdbus.Object
		method string
		args   []any
		want   string
	}{
		{obj, "x.y.Say", []any{42}, "int"},
		{obj, "x.y.not-a-member", nil, "member"},
		{client.Object("not a name", "/"), "x.y.Say", nil, "name"},
		{client.Object(echoName, "nopath"), "x.y.Say", nil, "path"},
		{obj, "x.y.Say", []any{nil}, "nil"},
	} {
		_, err := test.obj.Call(testContext(t), test.method, test.args...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the error is %v, want one with %q", test.method, err, test.want)
		}
	}
}

func TestTheContextEndsACall(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		_, _, obj := serveEcho(t, address)
		ctx, cancel := context.WithCancel(testContext(t))
		failed := make(chan error)
		go func() {
			_, err := obj.Call(ctx, echoIface+".Wait")
			failed <- err
		}()
		// When this is answered, Wait has been called or will be: either way it must end.
		must(obj.Call(testContext(t), echoIface+".Who"))(t)
		cancel()
		if err := receive(t, failed); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		if got := must(kdbus.Call[string](testContext(t), obj, echoIface+".Say", "still"))(t); got != "still" {
			t.Errorf("then the answer is %q", got)
		}
	})
}

func TestAPeerThatVanishesEndsItsCalls(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		service, err := dbus.Connect(address)
		if err != nil {
			t.Fatal(err)
		}
		called, end := make(chan struct{}), make(chan struct{})
		defer close(end)
		hang := map[string]any{"Hang": func() *dbus.Error { close(called); <-end; return nil }}
		if err := service.ExportMethodTable(hang, "/", "a.b"); err != nil {
			t.Fatal(err)
		}
		client := dial(t, address)
		failed := make(chan error)
		go func() {
			_, err := client.Object(service.Names()[0], "/").Call(testContext(t), "a.b.Hang")
			failed <- err
		}()
		select {
		case <-called:
		case err := <-failed:
			t.Fatal(err)
		}
		service.Close()
		if err := receive(t, failed); !errors.Is(err, kdbus.ErrNoReply) {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestAMethodMayCallOut(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		serveEcho(t, address)
		relay := dial(t, address)
		if err := relay.Export("/", "a.b", &relayer{relay.Object(echoName, echoPath)}); err != nil {
			t.Fatal(err)
		}
		client := dial(t, address)
		got := must(kdbus.Call[string](testContext(t), client.Object(relay.Name(), "/"), "a.b.Relay", "on"))(t)
		if got != "on" {
			t.Errorf("the answer is %q", got)
		}
	})
}

type relayer struct{ to kdbus.Object }

func (r *relayer) Relay(ctx context.Context, text string) (string, error) {
	return kdbus.Call[string](ctx, r.to, echoIface+".Say", text)
}

func TestManyCallsAtATime(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		_, _, obj := serveEcho(t, address)
		failed := make(chan error, 300) // more than a native bus lets wait at a time
		for i := range cap(failed) {
			go func() {
				want := strings.Repeat("y", i*20)
				for range 10 {
					got, err := kdbus.Call[string](testContext(t), obj, echoIface+".Say", want)
					if err == nil && got != want {
						err = errors.New("another one's answer")
					}
					if err != nil {
						failed <- err
						return
					}
				}
				failed <- nil
			}()
		}
		for range cap(failed) {
			if err := receive(t, failed); err != nil {
				t.Error(err)
			}
		}
	})
}

// Callers that give up, callers that wait, signals and a connection that is closed in the middle of
// it: every call ends.
func TestCallsEndWhateverElseGoesOn(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		client, service, obj := serveEcho(t, address)
		s := subscribe(t, client, kdbus.Match{Interface: "a.b"}, 10)
		ended := make(chan error)
		const callers = 8
		for i := range callers {
			go func() {
				for n := range math.MaxInt {
					ctx, cancel := context.WithCancel(testContext(t))
					if n%2 == 0 && i > 0 {
						go cancel()
					}
					_, err := obj.Call(ctx, echoIface+".Say", "x")
					cancel()
					if err != nil && !errors.Is(err, context.Canceled) {
						ended <- err
						return
					}
				}
			}()
		}
		for range 300 {
			emit(t, service, "/", "a.b.C")
			next(t, s)
			must(kdbus.Call[string](testContext(t), obj, echoIface+".Say", "y"))(t)
		}
		client.Close()
		for range callers {
			if err := receive(t, ended); !errors.Is(err, kdbus.ErrClosed) {
				t.Errorf("a call has ended with %v", err)
			}
		}
	})
}
