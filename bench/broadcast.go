package bench

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A bus has limits on what it queues for a receiver that is behind, and does different
// things when they are reached. So the sender of broadcasts keeps to a window: it sends
// bursts, and may have broadcastWindow of them that not every receiver has all of. The
// receivers, all in one process, say so by a byte in a pipe for each burst.
const (
	broadcastBurst  = 32
	broadcastWindow = 2
)

// setupSender makes the client that broadcasts. Its side descriptor is the end of the
// pipe to read from.
func setupSender(j job) (string, func(begin) (map[string]float64, error), error) {
	c, err := j.attach()
	if err != nil {
		return "", nil, err
	}
	return c.name, func(begin) (map[string]float64, error) {
		signal := c.protocol.signal()
		var burst []byte
		for range broadcastBurst {
			burst = append(burst, signal...)
		}
		send := func() error {
			for i := range broadcastBurst {
				c.serial++
				c.protocol.number(burst[i*len(signal):], c.serial)
			}
			return c.write(burst)
		}
		for range broadcastWindow {
			if err := send(); err != nil {
				return nil, err
			}
		}
		deliveries := 0
		credits := make([]byte, broadcastWindow)
		rate, err := measureRate(j.Duration, &deliveries, func() error {
			n, err := read(sideFD, credits)
			if err != nil {
				return fmt.Errorf("wait for the receivers: %w", err)
			}
			deliveries += n * broadcastBurst * j.Count
			for range n {
				if err := send(); err != nil {
					return err
				}
			}
			return nil
		})
		return map[string]float64{valueRate: rate}, err
	}, nil
}

// setupReceivers makes j.Count clients that are subscribed to the broadcasts. Their
// side descriptor is the end of the pipe to write to.
func setupReceivers(j job) (string, func(begin) (map[string]float64, error), error) {
	if err := raiseFileLimit(j.Count + 16); err != nil {
		return "", nil, err
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return "", nil, fmt.Errorf("make an epoll: %w", err)
	}
	r := &receivers{poll: poll, clients: make([]*client, j.Count), got: make([]int, j.Count)}
	for i := range r.clients {
		if r.clients[i], err = r.subscribe(j, i); err != nil {
			return "", nil, fmt.Errorf("receiver %d: %w", i+1, err)
		}
	}
	return r.clients[0].name, func(begin) (map[string]float64, error) { return nil, r.receive() }, nil
}

// receivers are the clients of one process that get the broadcasts.
type receivers struct {
	poll    int
	clients []*client
	got     []int // signals, by client
	// complete counts, by burst, the clients that got all of it. More than
	// broadcastWindow bursts are never under way.
	complete [broadcastWindow]int
}

func (r *receivers) subscribe(j job, index int) (*client, error) {
	c, err := connect(j.Socket, 16<<10, j.protocol())
	if err != nil {
		return nil, err
	}
	if _, err := c.call(c.protocol.subscription()); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(index)}
	if err := unix.EpollCtl(r.poll, unix.EPOLL_CTL_ADD, c.fd, &event); err != nil {
		return nil, fmt.Errorf("watch the connection: %w", err)
	}
	return c, nil
}

func (r *receivers) receive() error {
	events := make([]unix.EpollEvent, 64)
	side := newClient(sideFD, 0, nil)
	var credits [broadcastWindow]byte
	for {
		n, err := unix.EpollWait(r.poll, events, -1)
		if err == unix.EINTR {
			continue
		} else if err != nil {
			return fmt.Errorf("wait for signals: %w", err)
		}
		done := 0
		for _, e := range events[:n] {
			bursts, err := r.drain(int(e.Fd))
			if err != nil {
				return err
			}
			done += bursts
		}
		if err := side.write(credits[:done]); err != nil {
			return err
		}
	}
}

// drain reads once for one client, and returns how many bursts are thereby with all.
func (r *receivers) drain(index int) (bursts int, err error) {
	c := r.clients[index]
	if err := c.fill(); err != nil {
		return 0, fmt.Errorf("receiver %d: %w", index+1, err)
	}
	for m := c.take(); m != nil; m = c.take() {
		switch c.protocol.kind(m) {
		case kindFailure:
			return 0, fmt.Errorf("receiver %d: %w", index+1, c.protocol.failure(m))
		case kindSignal:
		default:
			continue
		}
		r.got[index]++
		if r.got[index]%broadcastBurst != 0 {
			continue
		}
		slot := &r.complete[r.got[index]/broadcastBurst%broadcastWindow]
		if *slot++; *slot == len(r.clients) {
			*slot = 0
			bursts++
		}
	}
	return bursts, nil
}
