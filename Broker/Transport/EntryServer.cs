using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>Gives committed entries to a peer that repairs its log: a few peers at once, throttled.</summary>
internal sealed class EntryServer(
    IPeerGate gate, TransferThrottle throttle, Action<PeerHello> admit, ILogger logger) : IDisposable
{
    private readonly SemaphoreSlim _slots = new(Limits.FetchesAtOnce);

    public async Task ServeAsync(
        FetchEntriesRequest request, IAsyncStreamWriter<EntriesChunk> writer, CancellationToken cancellationToken)
    {
        if (request.From is null || request.FirstIndex < 1 || request.LastIndex < request.FirstIndex)
        {
            throw PeerTransfer.Refuse(StatusCode.InvalidArgument, "A fetch names its sender and a range of entries.");
        }

        admit(request.From);
        var source = gate.FindEntries(new GroupId((int)request.Group))
            ?? throw PeerTransfer.Refuse(StatusCode.NotFound, $"This node has no group {request.Group}.");
        if (!await _slots.WaitAsync(TimeSpan.Zero, cancellationToken))
        {
            throw PeerTransfer.Refuse(
                StatusCode.ResourceExhausted, $"This node serves {Limits.FetchesAtOnce} fetches already.");
        }

        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            await SendAsync(source, request, writer, patience);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw PeerTransfer.Refuse(StatusCode.DeadlineExceeded, "The entries were not taken in time.");
        }
        catch (IOException damage)
        {
            TransportEvents.FetchDamaged(logger, (int)request.Group, request.From.NodeId, damage.Message);
            throw PeerTransfer.Refuse(StatusCode.DataLoss, "These entries cannot be read here either.");
        }
        finally
        {
            _slots.Release();
        }
    }

    public void Dispose() => _slots.Dispose();

    private static void Check(IEntrySource source, LogIndex first, LogIndex last, Term lastTerm)
    {
        if (first < source.FirstIndex || first > last || last > source.CommittedIndex)
        {
            throw NotHere(source);
        }

        if (source.HasGivenUp(first, last))
        {
            throw PeerTransfer.Refuse(
                PeerTransfer.KeptElsewhere, "What these entries say is not kept by this replica; others have it.");
        }

        var term = source.TermAt(last);
        if (term == Term.None)
        {
            throw NotHere(source);
        }

        if (term != lastTerm)
        {
            throw PeerTransfer.Refuse(
                StatusCode.FailedPrecondition, $"The committed entry {last} is of term {term}, not {lastTerm}.");
        }
    }

    private static RpcException NotHere(IEntrySource source) => PeerTransfer.Refuse(
        StatusCode.NotFound, $"Committed entries are kept here from {source.FirstIndex} to {source.CommittedIndex}.");

    private async Task SendAsync(
        IEntrySource source,
        FetchEntriesRequest request,
        IAsyncStreamWriter<EntriesChunk> writer,
        CancellationTokenSource patience)
    {
        var wanted = new LogIndex(request.FirstIndex);
        var next = request.OrLater ? LogIndex.Max(wanted, source.FirstIndex) : wanted;
        var last = new LogIndex(request.LastIndex);
        Check(source, next, last, new Term(request.LastTerm));
        TransportEvents.FetchServed(
            logger, (int)request.Group, request.From.NodeId, request.From.Name, next, last);
        var entries = new List<LogEntry>();
        while (next <= last)
        {
            entries.Clear();
            if (source.Read(next, last, Limits.TransferChunkBytes, entries) == 0)
            {
                // The log was dropped through here meanwhile.
                throw NotHere(source);
            }

            var chunk = new EntriesChunk();
            var bytes = 0;
            foreach (var entry in entries)
            {
                chunk.Entries.Add(PeerEntries.ToWire(entry));
                bytes += entry.SizeBytes;
            }

            patience.CancelAfter(PeerTransfer.StepLimit);
            await throttle.WaitAsync(bytes, patience.Token);
            patience.CancelAfter(PeerTransfer.StepLimit);
            await writer.WriteAsync(chunk, patience.Token);
            next += entries.Count;
        }
    }
}
