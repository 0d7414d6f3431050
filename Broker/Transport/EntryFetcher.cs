using System.Runtime.CompilerServices;
using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>
/// Fetches committed entries from a peer and checks each. A broken fetch goes on at its next entry; attempts that bring
/// nothing are bounded.
/// </summary>
internal sealed class EntryFetcher(IPeerGate gate, TimeProvider time, ILogger logger)
{
    /// <exception cref="RpcException">The peer has not got the entries, or gave up; ask another one.</exception>
    public async IAsyncEnumerable<LogEntry> FetchAsync(
        PeerEndpoint peer,
        GroupId group,
        LogIndex first,
        LogPosition last,
        bool orLater,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var next = first;
        var attempt = 0;
        var term = Term.None;
        while (next <= last.Index)
        {
            var before = next;
            var request = new FetchEntriesRequest
            {
                From = gate.Hello,
                Group = (uint)group.Value,
                FirstIndex = next.Value,
                LastIndex = last.Index.Value,
                LastTerm = last.Term.Value,
                OrLater = orLater && next == first,
            };
            await using var stream = new EntryStream(peer, request, cancellationToken);
            RpcException? failure;
            while ((failure = await stream.TryReadAsync()) is null)
            {
                foreach (var wire in stream.Entries)
                {
                    var entry = PeerEntries.FromWire(wire);
                    next = request.OrLater && term == Term.None ? LogIndex.Max(next, entry.Index) : next;
                    failure = WhyNot(entry, next, term, last);
                    if (failure is not null)
                    {
                        break;
                    }

                    yield return entry;
                    (next, term) = (entry.Index.Next(), entry.Term);
                }

                if (failure is not null || next > last.Index)
                {
                    break;
                }
            }

            if (next > last.Index)
            {
                yield break;
            }

            attempt = next > before ? 1 : attempt + 1;
            cancellationToken.ThrowIfCancellationRequested();
            TransportEvents.FetchBroke(logger, group.Value, peer.Node.Value, next, attempt, failure!.Status.Detail);
            if (!IsTransient(failure) || attempt >= Limits.TransferAttempts)
            {
                throw failure;
            }

            await PeerTransfer.PauseAsync(attempt, time, cancellationToken);
        }
    }

    /// <summary>A peer whose own copy is damaged will not have a better one in a moment.</summary>
    private static bool IsTransient(RpcException failure) =>
        failure.StatusCode != StatusCode.DataLoss && PeerTransfer.IsTransient(failure);

    private static RpcException? WhyNot(LogEntry entry, LogIndex expected, Term before, LogPosition last)
    {
        var isRight = entry.Index == expected
            && entry.Index <= last.Index
            && entry.Term >= before
            && (entry.Index == last.Index ? entry.Term == last.Term : entry.Term <= last.Term)
            && entry.BodyIsIntact();
        return isRight
            ? null
            : PeerTransfer.Refuse(
                StatusCode.Internal,
                $"Entry {entry.Index}/{entry.Term} came where {expected} was expected, or its body is damaged.");
    }

    /// <summary>One call, read chunk by chunk; each must come in time.</summary>
    private sealed class EntryStream : IAsyncDisposable
    {
        private readonly CancellationTokenSource _patience;
        private readonly Grpc.Net.Client.GrpcChannel _channel;
        private readonly AsyncServerStreamingCall<EntriesChunk> _call;

        public EntryStream(PeerEndpoint peer, FetchEntriesRequest request, CancellationToken cancellationToken)
        {
            _patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            _channel = PeerChannel.Open(peer.Address);
            _call = new Peer.PeerClient(_channel).FetchEntries(request, cancellationToken: _patience.Token);
        }

        public IReadOnlyList<PeerEntry> Entries => _call.ResponseStream.Current.Entries;

        /// <summary>Null: a chunk is there. Otherwise why there is none.</summary>
        public async Task<RpcException?> TryReadAsync()
        {
            try
            {
                _patience.CancelAfter(PeerTransfer.StepLimit);
                return await _call.ResponseStream.MoveNext(_patience.Token)
                    ? null
                    : PeerTransfer.Refuse(StatusCode.Internal, "The peer ended the stream before the last entry.");
            }
            catch (RpcException failure)
            {
                return failure;
            }
            catch (OperationCanceledException)
            {
                return PeerTransfer.Refuse(StatusCode.DeadlineExceeded, "The peer did not answer in time.");
            }
            finally
            {
                // The caller takes as long as it likes with what has come.
                _patience.CancelAfter(Timeout.InfiniteTimeSpan);
            }
        }

        public ValueTask DisposeAsync()
        {
            _call.Dispose();
            _channel.Dispose();
            _patience.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
