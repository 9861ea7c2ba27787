package kdbus_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/wire"
)

// BenchmarkOverhead is one call after the other, by the raw client, this library, by D-Bus 1 and
// natively, and godbus, of a raw service and of one of the same library. All are processes of their own, which have their
// turns, and are on one processor with the bus, so that what else the machine does is the same
// for all. It reports the time and the allocations of a call, and the ratios that count.
func BenchmarkOverhead(b *testing.B) {
	const turn = 2000 // calls
	bus := startProcess(b, busProcess+"=1")
	address := bus.line(b)
	pin(b, bus.Pid)
	pairs := []struct{ caller, service string }{
		{"raw", "raw"}, {"dbus1", "raw"}, {"native", "raw"}, {"godbus", "raw"},
		{"dbus1", "dbus1"}, {"native", "native"}, {"godbus", "godbus"},
	}
	var callers []*process
	for _, pair := range pairs {
		caller := startProcess(b, callerProcess+"="+address, peerKind+"="+pair.caller)
		service := startProcess(b, serviceProcess+"="+address, peerKind+"="+pair.service, servicePeer+"="+caller.line(b))
		b.Cleanup(func() { service.Kill() })
		fmt.Fprintln(caller.in, service.line(b))
		callers = append(callers, caller)
	}
	took, allocs := make([][]float64, len(pairs)), make([]float64, len(pairs))
	for b.Loop() {
		for i, caller := range callers {
			fmt.Fprintln(caller.in, turn)
			var ns float64
			if _, err := fmt.Sscan(caller.line(b), &ns, &allocs[i]); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], ns)
		}
	}
	median := make(map[string]float64)
	for i, pair := range pairs {
		slices.Sort(took[i])
		name := pair.caller + "-" + pair.service
		median[name] = took[i][len(took[i])/2]
		b.ReportMetric(median[name]/1000, name+"-us")
		if pair.service == "raw" && pair.caller != "raw" {
			b.ReportMetric(allocs[i], pair.caller+"-allocs")
		}
	}
	for _, library := range []string{"dbus1", "native"} {
		b.ReportMetric(median[library+"-raw"]/median["raw-raw"], library+"/raw")
		b.ReportMetric(median["godbus-raw"]/median[library+"-raw"], "godbus/"+library)
		b.ReportMetric(median["godbus-godbus"]/median[library+"-"+library], "both-godbus/"+library)
	}
	b.ReportMetric(0, "ns/op") // of all of them together: nobody's
}

// runService is the process of one kind of service. It prints its name, and answers a peer as
// long as there is a bus.
func runService(kind, address, peer string) error {
	switch kind {
	case "raw":
		c, err := dialRaw(address)
		if err != nil {
			return err
		}
		fmt.Println(c.name)
		return c.answer(peer, "hello")
	case "dbus1", "native":
		c, err := (&kdbus.Dialer{DBus1: kind == "dbus1"}).Dial(context.Background(), address)
		if err != nil {
			return err
		}
		if err := c.Export(echoPath, echoIface, &echo{}); err != nil {
			return err
		}
		fmt.Println(c.Name())
		<-c.Done()
	case "godbus":
		c, err := dbus.Connect(address)
		if err != nil {
			return err
		}
		say := func(text string) (string, *dbus.Error) { return text, nil }
		if err := c.ExportMethodTable(map[string]any{"Say": say}, echoPath, echoIface); err != nil {
			return err
		}
		fmt.Println(c.Names()[0])
		<-c.Context().Done()
	}
	return nil
}

// runCaller is the process of one kind of client. It prints its name, reads that of the service,
// and then for each number that it reads makes so many calls, and prints the nanoseconds of the
// median and the allocations of each.
func runCaller(kind, address string) error {
	var name string
	var prepare func(peer string) (call func() error)
	switch kind {
	case "raw":
		c, err := dialRaw(address)
		if err != nil {
			return err
		}
		// Nobody comes between it and its system calls.
		debug.SetGCPercent(-1)
		runtime.LockOSThread()
		name = c.name
		prepare = func(peer string) func() error {
			m := rawMessage(wire.Header{Type: wire.TypeMethodCall, Destination: peer, Path: echoPath, Interface: echoIface, Member: "Say"}, "hello")
			return func() error { _, err := c.call(m); return err }
		}
	case "dbus1", "native":
		c, err := (&kdbus.Dialer{DBus1: kind == "dbus1"}).Dial(context.Background(), address)
		if err != nil {
			return err
		}
		name = c.Name()
		prepare = func(peer string) func() error {
			obj := c.Object(peer, echoPath)
			return func() error {
				_, err := kdbus.Call[string](context.Background(), obj, echoIface+".Say", "hello")
				return err
			}
		}
	case "godbus":
		c, err := dbus.Connect(address)
		if err != nil {
			return err
		}
		name = c.Names()[0]
		prepare = func(peer string) func() error {
			obj := c.Object(peer, echoPath)
			return func() error {
				var got string
				return obj.Call(echoIface+".Say", 0, "hello").Store(&got)
			}
		}
	}
	fmt.Println(name)
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	call := prepare(in.Text())
	for in.Scan() {
		n, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		took := make([]time.Duration, 0, n)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for len(took) < n {
			start := time.Now()
			if err := call(); err != nil {
				return err
			}
			took = append(took, time.Since(start))
		}
		runtime.ReadMemStats(&after)
		slices.Sort(took)
		fmt.Println(int64(took[n/2]), float64(after.Mallocs-before.Mallocs)/float64(n))
	}
	return in.Err()
}

// pin keeps this program, those that it starts and the one given on one processor, until the
// benchmark ends.
func pin(b *testing.B, pid int) {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		b.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	setAffinity(b, pid, &one)
	setAffinity(b, os.Getpid(), &one)
	b.Cleanup(func() { setAffinity(b, os.Getpid(), &all) })
}

// setAffinity is for all threads that a process has; new ones have that of who starts them.
func setAffinity(b *testing.B, pid int, set *unix.CPUSet) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		if err == nil {
			err = unix.SchedSetaffinity(tid, set)
		}
		if err != nil && err != unix.ESRCH {
			b.Fatal(err)
		}
	}
}
