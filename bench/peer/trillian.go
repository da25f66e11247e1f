package peer

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/trillian"
	"github.com/google/trillian/extension"
	"github.com/google/trillian/log"
	"github.com/google/trillian/monitoring"
	"github.com/google/trillian/quota"
	"github.com/google/trillian/server"
	"github.com/google/trillian/storage"
	"github.com/google/trillian/storage/postgresql"
	"github.com/google/trillian/types"
	"github.com/google/trillian/util/clock"
	"github.com/google/trillian/util/election"
	"github.com/google/trillian/util/election2"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A Trillian is a log of Trillian on its PostgreSQL storage, with server and signer
// in this process. What it serves by gRPC can also be called without.
type Trillian struct {
	pool     *pgxpool.Pool
	registry extension.Registry
	server   *server.TrillianLogRPCServer
	logID    int64
	queued   atomic.Uint64 // leaves

	rpc    *grpc.Server
	conn   *grpc.ClientConn // to rpc
	client trillian.TrillianLogClient
}

// What gives Trillian its best figure here.
const (
	trillianConnections = 8
	trillianBatch       = 5000
	trillianInterval    = 100 * time.Millisecond
)

// OpenTrillian makes a log in an empty database. The schema is Trillian's own, of
// the version in go.mod: storage/postgresql/schema/storage.sql in its module.
func OpenTrillian(ctx context.Context, url, schema string) (*Trillian, error) {
	silence()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = trillianConnections
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	t := &Trillian{pool: pool}
	if err := t.create(ctx, schema); err != nil {
		pool.Close()
		return nil, fmt.Errorf("make Trillian's log: %w", err)
	}
	if err := t.serve(); err != nil {
		pool.Close()
		return nil, err
	}
	return t, nil
}

// serve serves the log by gRPC, and connects to it, until Close.
func (t *Trillian) serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	t.conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		_ = listener.Close()
		return err
	}
	t.client = trillian.NewTrillianLogClient(t.conn)
	t.rpc = grpc.NewServer()
	trillian.RegisterTrillianLogServer(t.rpc, t.server)
	go func() { _ = t.rpc.Serve(listener) }() // if it cannot, no client can
	return nil
}

func (t *Trillian) create(ctx context.Context, schema string) error {
	if _, err := t.pool.Exec(ctx, schema); err != nil {
		return err
	}
	metrics := monitoring.InertMetricFactory{}
	t.registry = extension.Registry{
		AdminStorage:    postgresql.NewAdminStorage(t.pool),
		LogStorage:      postgresql.NewLogStorage(t.pool, metrics),
		QuotaManager:    quota.Noop(),
		MetricFactory:   metrics,
		ElectionFactory: election2.NoopFactory{},
	}
	tree, err := storage.CreateTree(ctx, t.registry.AdminStorage, &trillian.Tree{
		TreeState: trillian.TreeState_ACTIVE, TreeType: trillian.TreeType_LOG,
		MaxRootDuration: durationpb.New(time.Hour),
	})
	if err != nil {
		return err
	}
	t.logID = tree.TreeId
	t.server = server.NewTrillianLogRPCServer(t.registry, clock.System)
	_, err = t.server.InitLog(ctx, &trillian.InitLogRequest{LogId: t.logID})
	return err
}

// Close ends all connections.
func (t *Trillian) Close() {
	_ = t.conn.Close()
	t.rpc.Stop()
	t.pool.Close()
}

// StartSigning has what is queued integrated and signed until it is stopped.
func (t *Trillian) StartSigning(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	manager := log.NewOperationManager(log.OperationInfo{
		Registry: t.registry, BatchSize: trillianBatch, NumWorkers: 1, RunInterval: trillianInterval,
		TimeSource: clock.System, ElectionConfig: election.RunnerConfig{TimeSource: clock.System},
	}, log.NewSequencerManager(t.registry, 0))
	var signing sync.WaitGroup
	signing.Go(func() { manager.OperationLoop(ctx) })
	return func() {
		cancel()
		signing.Wait()
	}
}

// Queue queues a leaf, durably, by gRPC, on the connection that all calls share.
func (t *Trillian) Queue(ctx context.Context, leaf []byte) error {
	_, err := t.client.QueueLeaf(ctx, t.request(leaf))
	return t.count(err)
}

func (t *Trillian) request(leaf []byte) *trillian.QueueLeafRequest {
	return &trillian.QueueLeafRequest{LogId: t.logID, Leaf: &trillian.LogLeaf{LeafValue: leaf}}
}

// count counts a leaf that was queued.
func (t *Trillian) count(err error) error {
	if err == nil {
		t.queued.Add(1)
	}
	return err
}

// AwaitSigned returns once a signed tree has all that was queued.
func (t *Trillian) AwaitSigned(ctx context.Context) error {
	for {
		r, err := t.server.GetLatestSignedLogRoot(ctx, &trillian.GetLatestSignedLogRootRequest{LogId: t.logID})
		if err != nil {
			return err
		}
		var root types.LogRootV1
		if err := root.UnmarshalBinary(r.SignedLogRoot.LogRoot); err != nil {
			return err
		}
		if root.TreeSize >= t.queued.Load() {
			return nil
		}
		select {
		case <-time.After(trillianInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
