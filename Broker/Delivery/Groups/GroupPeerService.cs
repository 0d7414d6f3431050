using System.Collections.Concurrent;
using System.Threading.Channels;
using Broker.Cluster;
using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Delivery;

/// <summary>
/// The other end of a <see cref="GroupLink"/>: brings what a node wants to the shards that this one leads.
/// </summary>
internal sealed class GroupPeerService(
    BrokerNode node, IReadOnlyDictionary<GroupId, ShardGroups> shards, IHostApplicationLifetime lifetime)
    : GroupPeer.GroupPeerBase
{
    private const int ResponseBytes = 1024 * 1024;

    public override async Task Serve(
        IAsyncStreamReader<GroupPeerRequests> requestStream,
        IServerStreamWriter<GroupPeerResponses> responseStream,
        ServerCallContext context)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(
            context.CancellationToken, lifetime.ApplicationStopping);
        if (!await requestStream.MoveNext(ended.Token) || requestStream.Current.Hello is not { } hello)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, "The first message is a hello."));
        }

        if (!node.Admits(hello, out var reason))
        {
            throw new RpcException(new Status(StatusCode.FailedPrecondition, reason));
        }

        var peer = new Peer(new NodeId((int)hello.NodeId), shards, ended.Token);
        var writing = WriteAsync(peer.Responses, responseStream, ended.Token);
        try
        {
            while (await requestStream.MoveNext(ended.Token))
            {
                foreach (var request in requestStream.Current.Requests)
                {
                    peer.Take(request);
                }
            }
        }
        catch (Exception broken) when (broken is OperationCanceledException or IOException)
        {
            // The node is gone, or this one stops: the sessions end all the same.
        }
        finally
        {
            peer.Close();
            await ended.CancelAsync();
            await writing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static async Task WriteAsync(
        ChannelReader<GroupPeerResponse> responses,
        IServerStreamWriter<GroupPeerResponses> stream,
        CancellationToken cancellationToken)
    {
        while (await responses.WaitToReadAsync(cancellationToken))
        {
            var message = new GroupPeerResponses();
            var bytes = 0;
            while (bytes < ResponseBytes && responses.TryRead(out var response))
            {
                bytes += 64 + (response.Delivery?.Batch.Length ?? 0);
                message.Responses.Add(response);
            }

            await stream.WriteAsync(message, cancellationToken);
        }
    }

    /// <summary>One link.</summary>
    private sealed class Peer(
        NodeId id, IReadOnlyDictionary<GroupId, ShardGroups> shards, CancellationToken ended)
    {
        private readonly ConcurrentDictionary<(GroupId Shard, long Session), Outlet> _outlets = new();

        // What stands in it is bounded by the consumers' credit, and by the calls that wait.
        private readonly Channel<GroupPeerResponse> _responses =
            Channel.CreateUnbounded<GroupPeerResponse>(new UnboundedChannelOptions { SingleReader = true });

        public ChannelReader<GroupPeerResponse> Responses => _responses.Reader;

        public void Take(GroupPeerRequest request)
        {
            var shard = new GroupId((int)request.Shard);
            if (!shards.TryGetValue(shard, out var groups))
            {
                Send(shard, request.Number, new GroupPeerResponse
                {
                    Refused = GroupPeerMessages.ToWire(Refusal.NoLeader(shard)),
                });
                return;
            }

            var session = new SessionKey(id, request.Number);
            switch (request.RequestCase)
            {
                case GroupPeerRequest.RequestOneofCase.Open:
                    var outlet = new Outlet(this, shard, request.Number);
                    _outlets[(shard, request.Number)] = outlet;
                    var open = request.Open;
                    groups.Open(session, open.OpenedUnixMs, open.Group, open.Consumer, outlet);
                    break;
                case GroupPeerRequest.RequestOneofCase.Credit:
                    groups.AddCredit(session, request.Credit.Records, request.Credit.Bytes);
                    break;
                case GroupPeerRequest.RequestOneofCase.Recall:
                    groups.Recall(session);
                    break;
                case GroupPeerRequest.RequestOneofCase.GiveBack:
                    if (DeliveryTokens.TryDecode(request.GiveBack.Token.Span, out _, out var group, out var token))
                    {
                        groups.GiveBack(group, token);
                    }

                    break;
                case GroupPeerRequest.RequestOneofCase.Close:
                    if (_outlets.TryRemove((shard, request.Number), out var closed))
                    {
                        groups.Close(session, closed);
                    }

                    break;
                default:
                    _ = AnswerAsync(shard, groups, request);
                    break;
            }
        }

        public void Close()
        {
            foreach (var ((shard, number), outlet) in _outlets)
            {
                shards[shard].Close(new SessionKey(id, number), outlet);
            }

            _responses.Writer.TryComplete();
        }

        private async Task AnswerAsync(GroupId shard, ShardGroups groups, GroupPeerRequest request)
        {
            try
            {
                Send(shard, request.Number, await AskAsync(groups, request));
            }
            catch (BrokerException refusal)
            {
                Send(shard, request.Number, new GroupPeerResponse { Refused = GroupPeerMessages.ToWire(refusal) });
            }
            catch (OperationCanceledException)
            {
                // Nobody waits for the answer any more.
            }
        }

        private async Task<GroupPeerResponse> AskAsync(ShardGroups groups, GroupPeerRequest request)
        {
            switch (request.RequestCase)
            {
                case GroupPeerRequest.RequestOneofCase.Settle:
                    var orders = request.Settle.Orders.Select(GroupPeerMessages.ToOrder).ToArray();
                    if (orders.Contains(null))
                    {
                        throw Refusal.InvalidArgument("An order is none that a node of this version sends.");
                    }

                    var outcomes = await groups.SettleAsync([.. orders.Select(static order => order!.Value)], ended);
                    var settled = new GroupPeerSettled();
                    settled.Outcomes.AddRange(outcomes.Select(static outcome => new GroupPeerOutcome
                    {
                        Refused = outcome.Refusal is { } refusal ? GroupPeerMessages.ToWire(refusal) : null,
                        Lost = outcome.Lost,
                    }));
                    return new GroupPeerResponse { Settled = settled };
                case GroupPeerRequest.RequestOneofCase.Report:
                    var report = await groups.ReportAsync(request.Report.Group, ended);
                    return new GroupPeerResponse { Reported = GroupPeerMessages.ToWire(report) };
                case GroupPeerRequest.RequestOneofCase.Peek:
                    var peek = request.Peek;
                    if (!Enum.IsDefined((PeekState)peek.State))
                    {
                        throw Refusal.InvalidArgument("A state is none that a node of this version knows.");
                    }

                    var found = await groups.PeekAsync(
                        peek.Group,
                        (PeekState)peek.State,
                        peek.Topic.Length == 0 ? null : new PlaceOfRecord(peek.Topic, peek.Partition, peek.Offset),
                        Math.Clamp(peek.Most, 1, Limits.PeeksPerPage + 1),
                        ended);
                    var peeked = new GroupPeerPeeked { Records = { found.Select(GroupPeerMessages.ToWire) } };
                    return new GroupPeerResponse { Peeked = peeked };
                case GroupPeerRequest.RequestOneofCase.Seek:
                    var seek = request.Seek;
                    var places = await groups.SeekAsync(
                        seek.Group,
                        seek.Topic,
                        seek.HasPartition ? seek.Partition : null,
                        new GroupSeek(
                            seek.HasOffset ? seek.Offset : null, seek.HasTimeUnixMs ? seek.TimeUnixMs : null, seek.End),
                        ended);
                    var sought = GroupPeerMessages.ToWire(new GroupReport([], places, 0));
                    return new GroupPeerResponse { Reported = sought };
                case GroupPeerRequest.RequestOneofCase.TakeDead:
                    var take = request.TakeDead;
                    var order = new DeadOrder(
                        take.Offsets, take.HasBefore ? take.Before : null, take.Most, take.Purge);
                    var (count, left, end) = await groups.TakeDeadLettersAsync(take.Group, order, ended);
                    var taken = new GroupPeerDeadTaken { Count = count, Left = left, End = end };
                    return new GroupPeerResponse { DeadTaken = taken };
                default:
                    throw Refusal.InvalidArgument("A request says what is wanted.");
            }
        }

        private void Send(GroupId shard, long number, GroupPeerResponse response)
        {
            response.Shard = (uint)shard.Value;
            response.Number = number;
            _responses.Writer.TryWrite(response);
        }

        private sealed class Outlet(Peer peer, GroupId shard, long number) : IGroupOutlet
        {
            public void Opened() => peer.Send(shard, number, new GroupPeerResponse { Opened = new GroupPeerOpened() });

            public void Deliver(in GroupDelivery delivery) =>
                peer.Send(shard, number, new GroupPeerResponse { Delivery = GroupPeerMessages.ToWire(delivery) });

            public void WantsCredit() =>
                peer.Send(shard, number, new GroupPeerResponse { Wants = new GroupPeerWants() });

            public void Quiet() => peer.Send(shard, number, new GroupPeerResponse { Quiet = new GroupPeerQuiet() });

            public void Returned(int records, long bytes) => peer.Send(shard, number, new GroupPeerResponse
            {
                Returned = new GroupPeerCredit { Records = records, Bytes = bytes },
            });

            public void Ended(BrokerException why)
            {
                peer._outlets.TryRemove(KeyValuePair.Create((shard, number), this));
                peer.Send(shard, number, new GroupPeerResponse { Refused = GroupPeerMessages.ToWire(why) });
            }
        }
    }
}
