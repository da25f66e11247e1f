package peer

import (
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// silence keeps Tessera and Trillian from writing to standard error, where they
// report each stop as a failure. What fails is in the errors they return.
var silence = sync.OnceFunc(func() { klog.SetLogger(logr.Discard()) })
