// Forward hands every connection to the listening socket that is its standard input on to an address of the network
// that it runs in: a socket stays in the network it was made in, so this is a door between two of them.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: forward HOST:PORT")
	}
	listener, err := net.FileListener(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go forward(connection.(*net.TCPConn), os.Args[1])
	}
}

func forward(caller *net.TCPConn, address string) {
	defer caller.Close()
	dialed, err := net.Dial("tcp", address)
	if err != nil {
		log.Print(err)
		return
	}
	defer dialed.Close()
	answered := make(chan struct{})
	go func() {
		copyAll(caller, dialed.(*net.TCPConn))
		close(answered)
	}()
	copyAll(dialed.(*net.TCPConn), caller)
	<-answered
}

// copyAll passes on what is said and then that no more will be.
func copyAll(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		from.Close()
	}
	_ = to.CloseWrite()
}
