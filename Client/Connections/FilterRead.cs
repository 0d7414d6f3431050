using Google.Protobuf;
using Grpc.Core;
using Microsoft.Extensions.Logging;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client.Connections;

/// <summary>
/// How far a subscription has come in each topic, and what to do when the broker that serves it fails.
/// </summary>
internal sealed class FilterRead(
    string[] filters,
    SubscribeOptions start,
    BrokerConnections connections,
    BrokerClientOptions options,
    TimeProvider time,
    ILogger logger) : IDisposable
{
    /// <summary>The most that a broker takes.</summary>
    private const int MaxPositions = 10_000;

    private readonly string _subject = string.Join(' ', filters);
    private readonly Dictionary<(string Topic, int Partition), (ulong TopicId, long NextOffset)> _positions = [];
    private AsyncServerStreamingCall<Wire.SubscribeResponse>? _call;
    private BrokerConnection? _from;
    private ByteString _resumeToken = ByteString.Empty;
    private long _progressAt = time.GetTimestamp();
    private int _failures;

    /// <summary>Ends when a broker has taken the subscription.</summary>
    /// <exception cref="BrokerClientException">A request that cannot be, or nobody takes it in time.</exception>
    public async ValueTask OpenAsync(bool forever, CancellationToken cancellationToken)
    {
        while (true)
        {
            _call?.Dispose();
            _from = Choose();
            _call = _from.Messages.Subscribe(Request(), cancellationToken: CancellationToken.None);
            if (await MoveNextAsync(forever, cancellationToken) is { } first)
            {
                // The first one's is kept: topics that have sent nothing yet go on from that moment.
                _resumeToken = _resumeToken.IsEmpty ? first.ResumeToken : _resumeToken;
                return;
            }
        }
    }

    /// <summary>The next records of a topic, from whichever broker has them.</summary>
    /// <exception cref="BrokerClientException">No broker can give them any more.</exception>
    public async ValueTask<Wire.SubscribeResponse> NextAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            if (await MoveNextAsync(forever: true, cancellationToken) is { Read: not null } response)
            {
                return response;
            }

            await OpenAsync(forever: true, cancellationToken);
        }
    }

    /// <summary>The first offset of a topic that was not handed out.</summary>
    public long PositionIn(string topic, int partition, ulong topicId) =>
        _positions.TryGetValue((topic, partition), out var position) && position.TopicId == topicId
            ? position.NextOffset
            : 0;

    public void Advance(string topic, int partition, ulong topicId, long nextOffset) =>
        _positions[(topic, partition)] = (topicId, Math.Max(nextOffset, PositionIn(topic, partition, topicId)));

    public void Dispose() => _call?.Dispose();

    private BrokerConnection Choose()
    {
        var next = connections.Next();
        return next == _from && _failures > 0 ? connections.Next() : next;
    }

    private Wire.SubscribeRequest Request()
    {
        var request = new Wire.SubscribeRequest();
        request.Filters.AddRange(filters);
        if (start.FromTime is { } from)
        {
            request.TimeUnixMs = Math.Max(0, from.ToUnixTimeMilliseconds());
        }
        else if (start.FromBeginning)
        {
            request.Position = Wire.StartPosition.Beginning;
        }
        else
        {
            request.ResumeToken = _resumeToken;  // Empty at first: from the end.
        }

        // Of topics that do not fit, the broker sends again what was handed out, and PositionIn knows it.
        foreach (var (place, position) in _positions.Take(MaxPositions))
        {
            request.Positions.Add(new Wire.TopicPosition
            {
                Topic = place.Topic,
                Partition = (uint)place.Partition,
                TopicId = position.TopicId,
                NextOffset = position.NextOffset,
            });
        }

        return request;
    }

    /// <summary>Null: this stream has ended, and another one may do better.</summary>
    private async ValueTask<Wire.SubscribeResponse?> MoveNextAsync(bool forever, CancellationToken cancellationToken)
    {
        try
        {
            if (await _call!.ResponseStream.MoveNext(cancellationToken))
            {
                _progressAt = time.GetTimestamp();
                _failures = 0;
                _from!.Worked();
                return _call.ResponseStream.Current;
            }

            _failures++;  // It has no end of its own: the broker shuts down.
        }
        catch (RpcException error) when (
            cancellationToken.IsCancellationRequested && error.StatusCode == StatusCode.Cancelled)
        {
            throw new OperationCanceledException("The subscription was cancelled.", error, cancellationToken);
        }
        catch (RpcException error)
        {
            _failures++;
            ClientLog.CallFailed(
                logger, $"Subscribing to '{_subject}'", _from!.Address, $"{error.StatusCode}: {error.Status.Detail}");
            var gaveUp = !forever && time.GetElapsedTime(_progressAt) >= options.OperationTimeout;
            if (gaveUp || error.StatusCode is StatusCode.InvalidArgument or StatusCode.PermissionDenied
                or StatusCode.Unauthenticated or StatusCode.Unimplemented or StatusCode.DataLoss)
            {
                throw ClientErrors.CallFailed(
                    $"Subscribing to '{_subject}'", _failures, _from.Address, error, gaveUp);
            }

            _from.Failed(error);
        }

        if (_failures > connections.All.Count)
        {
            await Task.Delay(RetryDelay.After(time.GetElapsedTime(_progressAt), options), time, cancellationToken);
        }

        return null;
    }
}
