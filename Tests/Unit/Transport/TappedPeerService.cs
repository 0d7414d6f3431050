using System.Collections.Concurrent;
using Broker.Protocol.V1;
using Broker.Transport;
using Grpc.Core;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>The service of a transport under test, with a hand in what passes through it.</summary>
internal sealed class TappedPeerService(Func<PeerTransport> transport) : Peer.PeerBase
{
    public ConcurrentQueue<InstallSnapshotRequest> SnapshotRequests { get; } = new();

    public ConcurrentQueue<FetchEntriesRequest> Fetches { get; } = new();

    /// <summary>May change what arrives, or throw.</summary>
    public Func<InstallSnapshotRequest, InstallSnapshotRequest> OnSnapshotRequest { get; set; } = static each => each;

    /// <summary>May change what leaves, or throw.</summary>
    public Func<EntriesChunk, EntriesChunk> OnEntries { get; set; } = static each => each;

    public override Task InstallSnapshot(
        IAsyncStreamReader<InstallSnapshotRequest> requestStream,
        IServerStreamWriter<InstallSnapshotResponse> responseStream,
        ServerCallContext context) =>
        transport().ReceiveSnapshotAsync(
            new TappedReader<InstallSnapshotRequest>(requestStream, Take),
            responseStream,
            context.CancellationToken);

    public override Task FetchEntries(
        FetchEntriesRequest request, IServerStreamWriter<EntriesChunk> responseStream, ServerCallContext context)
    {
        Fetches.Enqueue(request);
        return transport().ServeEntriesAsync(
            request, new TappedWriter(responseStream, each => OnEntries(each)), context.CancellationToken);
    }

    private InstallSnapshotRequest Take(InstallSnapshotRequest request)
    {
        var taken = OnSnapshotRequest(request);
        SnapshotRequests.Enqueue(taken);
        return taken;
    }

    private sealed class TappedReader<T>(IAsyncStreamReader<T> inner, Func<T, T> take)
        : IAsyncStreamReader<T>
    {
        public T Current { get; private set; } = default!;

        public async Task<bool> MoveNext(CancellationToken cancellationToken)
        {
            if (!await inner.MoveNext(cancellationToken))
            {
                return false;
            }

            Current = take(inner.Current);
            return true;
        }
    }

    private sealed class TappedWriter(
        IServerStreamWriter<EntriesChunk> inner, Func<EntriesChunk, EntriesChunk> give)
        : IServerStreamWriter<EntriesChunk>
    {
        public WriteOptions? WriteOptions
        {
            get => inner.WriteOptions;
            set => inner.WriteOptions = value;
        }

        public Task WriteAsync(EntriesChunk message) => inner.WriteAsync(give(message));

        public Task WriteAsync(EntriesChunk message, CancellationToken cancellationToken) =>
            inner.WriteAsync(give(message), cancellationToken);
    }
}
