using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Broker.Client.Requesting;

/// <summary>
/// Where the replies to a client's requests come. The topics for replies are a fixed few, which clients share: so a
/// client that dies leaves nothing behind that somebody must remove, and retention takes the replies.
/// </summary>
internal sealed class ReplyInbox : IAsyncDisposable
{
    public const string ReplyTo = "reply-to";
    public const string CorrelationId = "correlation-id";

    /// <summary>Of the whole cluster: each client reads one, with the replies of others that share it.</summary>
    private const int Topics = 64;

    private const int MostRequests = 1_024;

    /// <summary>Where more groups are consumed it is not said that nobody could have replied.</summary>
    private const int GroupsLookedAt = 20;

    private static readonly TimeSpan Kept = TimeSpan.FromHours(1);

    private readonly BrokerClient _client;
    private readonly TimeProvider _time;
    private readonly string _topic =
        $"broker.replies.{RandomNumberGenerator.GetInt32(Topics).ToString("00", CultureInfo.InvariantCulture)}";

    private readonly ConcurrentDictionary<string, TaskCompletionSource<BrokerRecord>> _open = new();
    private readonly SemaphoreSlim _beginning = new(1);
    private readonly CancellationTokenSource _end = new();
    private Task _reading = Task.CompletedTask;
    private volatile bool _isReading;
    private int _requests;

    public ReplyInbox(BrokerClient client, TimeProvider time) => (_client, _time) = (client, time);

    /// <summary>Publishes a request, and waits for its reply.</summary>
    public async Task<BrokerRecord> RequestAsync(
        string topic, BrokerMessage message, TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (Interlocked.Increment(ref _requests) > MostRequests)
        {
            Interlocked.Decrement(ref _requests);
            throw ClientErrors.TooManyRequests(topic, MostRequests);
        }

        var id = Guid.NewGuid().ToString("N");
        var reply = new TaskCompletionSource<BrokerRecord>(TaskCreationOptions.RunContinuationsAsynchronously);
        using var patience = new CancellationTokenSource(timeout, _time);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(
            patience.Token, cancellationToken, _end.Token);
        var isStored = false;
        try
        {
            await BeginAsync(ended.Token);
            _open[id] = reply;
            await _client.PublishAsync(topic, With(message, (ReplyTo, _topic), (CorrelationId, id)), ended.Token);
            isStored = true;
            return await reply.Task.WaitAsync(ended.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            ObjectDisposedException.ThrowIf(_end.IsCancellationRequested, _client);
            throw await DescribeAsync(topic, timeout, isStored, cancellationToken);
        }
        finally
        {
            _open.TryRemove(id, out _);
            Interlocked.Decrement(ref _requests);
        }
    }

    public static BrokerMessage With(BrokerMessage message, params (string Name, string Value)[] headers) =>
        message with
        {
            Headers =
            [
                .. message.Headers ?? [],
                .. headers.Select(static header => new KeyValuePair<string, ReadOnlyMemory<byte>>(
                    header.Name, Encoding.UTF8.GetBytes(header.Value))),
            ],
        };

    /// <summary>Null: the record has no such header.</summary>
    public static string? Header(BrokerRecord record, string name)
    {
        foreach (var (key, value) in record.Headers)
        {
            if (key == name)
            {
                return Encoding.UTF8.GetString(value.Span);
            }
        }

        return null;
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await _reading;
        _end.Dispose();
        _beginning.Dispose();
    }

    /// <summary>Replies are heard from before the first request on, so none is missed.</summary>
    private async Task BeginAsync(CancellationToken cancellationToken)
    {
        await _beginning.WaitAsync(cancellationToken);
        try
        {
            if (!_isReading)
            {
                await _client.CreateTopicAsync(_topic, new TopicSettings { MaxAge = Kept }, cancellationToken);
                var replies = await _client.SubscribeAsync([_topic], cancellationToken: cancellationToken);
                _isReading = true;
                _reading = ReadAsync(replies);
            }
        }
        finally
        {
            _beginning.Release();
        }
    }

    private async Task ReadAsync(TopicSubscription replies)
    {
        try
        {
            await using (replies)
            {
                await foreach (var reply in replies.WithCancellation(_end.Token))
                {
                    if (Header(reply, CorrelationId) is { } id && _open.TryRemove(id, out var request))
                    {
                        request.TrySetResult(reply);
                    }
                }
            }
        }
        catch (Exception failure) when (failure is BrokerClientException or OperationCanceledException
            or ObjectDisposedException)
        {
            // The next request begins anew; those that wait hear why.
            foreach (var request in failure is BrokerClientException ? _open.Values : [])
            {
                request.TrySetException(failure);
            }
        }
        finally
        {
            _isReading = false;
        }
    }

    /// <summary>Whether anybody was there who could have replied.</summary>
    private async Task<BrokerClientException> DescribeAsync(
        string topic, TimeSpan timeout, bool isStored, CancellationToken cancellationToken)
    {
        if (!isStored)
        {
            return ClientErrors.RequestNotStored(topic, timeout);
        }

        try
        {
            var groups = await _client.ListGroupsAsync(figures: true, cancellationToken: cancellationToken);
            var consumed = groups.Where(static group => group.Consumers > 0).Take(GroupsLookedAt + 1).ToList();
            var hasResponder = consumed.Count > GroupsLookedAt;
            for (var i = 0; i < consumed.Count && !hasResponder; i++)
            {
                var group = await _client.DescribeGroupAsync(consumed[i].Name, cancellationToken);
                hasResponder = group.Settings.Filters!.Any(filter => TopicFilter.Parse(filter).Matches(topic));
            }

            return ClientErrors.NoReply(topic, timeout, hasResponder);
        }
        catch (BrokerClientException)
        {
            // Nobody can say; that there was no reply is certain.
            return ClientErrors.NoReply(topic, timeout, hasResponder: true);
        }
    }
}
