using System.Collections.Concurrent;
using Broker.Protocol.V1;
using Broker.Transport;
using Grpc.Core;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>The service of a transport under test, with a hand in what passes through it.</summary>
internal sealed class TappedPeerService(Func<PeerTransport> transport) : Peer.PeerBase
{
    /// <summary>Sees each envelope that arrives.</summary>
    public ConcurrentQueue<PeerEnvelope> Envelopes { get; } = new();

    public ConcurrentQueue<InstallSnapshotRequest> SnapshotRequests { get; } = new();

    public ConcurrentQueue<FetchEntriesRequest> Fetches { get; } = new();

    /// <summary>After the hello nothing is read any more.</summary>
    public bool IsDeaf { get; set; }

    /// <summary>May change what arrives, or throw.</summary>
    public Func<InstallSnapshotRequest, InstallSnapshotRequest> OnSnapshotRequest { get; set; } = static each => each;

    /// <summary>May change what leaves, or throw.</summary>
    public Func<EntriesChunk, EntriesChunk> OnEntries { get; set; } = static each => each;

    public override Task Connect(
        IAsyncStreamReader<PeerEnvelope> requestStream,
        IServerStreamWriter<PeerEnvelope> responseStream,
        ServerCallContext context) =>
        transport().AcceptAsync(
            new TappedReader<PeerEnvelope>(requestStream, Take, () => IsDeaf && !Envelopes.IsEmpty),
            responseStream,
            context.CancellationToken);

    public override Task InstallSnapshot(
        IAsyncStreamReader<InstallSnapshotRequest> requestStream,
        IServerStreamWriter<InstallSnapshotResponse> responseStream,
        ServerCallContext context) =>
        transport().ReceiveSnapshotAsync(
            new TappedReader<InstallSnapshotRequest>(requestStream, Take, static () => false),
            responseStream,
            context.CancellationToken);

    public override Task FetchEntries(
        FetchEntriesRequest request, IServerStreamWriter<EntriesChunk> responseStream, ServerCallContext context)
    {
        Fetches.Enqueue(request);
        return transport().ServeEntriesAsync(
            request, new TappedWriter(responseStream, each => OnEntries(each)), context.CancellationToken);
    }

    private PeerEnvelope Take(PeerEnvelope envelope)
    {
        Envelopes.Enqueue(envelope);
        return envelope;
    }

    private InstallSnapshotRequest Take(InstallSnapshotRequest request)
    {
        var taken = OnSnapshotRequest(request);
        SnapshotRequests.Enqueue(taken);
        return taken;
    }

    private sealed class TappedReader<T>(IAsyncStreamReader<T> inner, Func<T, T> take, Func<bool> isDeaf)
        : IAsyncStreamReader<T>
    {
        public T Current { get; private set; } = default!;

        public async Task<bool> MoveNext(CancellationToken cancellationToken)
        {
            if (isDeaf())
            {
                await Task.Delay(Timeout.Infinite, cancellationToken);
            }

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
