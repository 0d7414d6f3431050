using Broker.Client.Consuming;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    private SettleQueue? _settling;

    internal SettleQueue Settling => LazyInitializer.EnsureInitialized(
        ref _settling,
        () => new SettleQueue(
            request => MeasureAsync(
                "settle",
                "settle",
                CallAnyAsync(
                    "Settling records", (c, o) => c.Messages.SettleAsync(request, Patient(o)), CancellationToken.None)),
            _options,
            _time));

    /// <summary>
    /// Takes part in a consumer group: the brokers share the group's records among all its consumers, and remember what
    /// was settled. Enumerate the consumer, and settle each record.
    /// </summary>
    /// <param name="group">The group's name.</param>
    /// <param name="options">What the group follows if it is to be made, and how much the consumer may hold.</param>
    /// <param name="cancellationToken">Ends the waiting for a broker.</param>
    /// <returns>The consumer: dispose it.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such group, and no filters to make it with. FailedPrecondition: it has other filters.
    /// InvalidArgument: a bad name or filter. ResourceExhausted: 1,000 groups already. Unavailable: no broker took the
    /// consumer within OperationTimeout.
    /// </exception>
    public async ValueTask<GroupConsumer> ConsumeAsync(
        string group, ConsumeOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(group);
        ObjectDisposedException.ThrowIf(_isClosing, this);
        options ??= new ConsumeOptions();
        if (options is { MaxUnsettledRecords: < 1 or > 1_000 } or { MaxUnsettledBytes: < 1 or > 32 * 1024 * 1024 })
        {
            throw ClientErrors.Invalid(
                $"A consumer holds 1 to 1,000 records (not {options.MaxUnsettledRecords:N0}) and 1 byte to 32 MiB (not "
                + $"{options.MaxUnsettledBytes:N0} bytes) that it has not settled.");
        }

        var read = new GroupRead(group, options, _connections, _options, _time, _logger);
        try
        {
            await read.BeginAsync(cancellationToken);
            return new ReadingGroupConsumer(group, read, this, _metrics, _logger);
        }
        catch
        {
            await read.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// What a group has to deliver, once: for who works now and then. <see cref="ConsumeAsync"/> costs less for much
    /// work.
    /// </summary>
    /// <param name="group">The group's name.</param>
    /// <param name="maxRecords">The most records that are wanted, 1 to 1,000.</param>
    /// <param name="wait">How long to wait for the first one; at least 100 ms, at most a minute. Null: 1 s.</param>
    /// <param name="filters">As <see cref="ConsumeOptions.Filters"/>.</param>
    /// <param name="cancellationToken">Ends the waiting; what was delivered comes again when its lease ends.</param>
    /// <returns>The records, to be settled each; possibly none.</returns>
    /// <exception cref="BrokerClientException">As ConsumeAsync.</exception>
    public async ValueTask<IReadOnlyList<GroupRecord>> FetchAsync(
        string group,
        int maxRecords = 100,
        TimeSpan? wait = null,
        IReadOnlyList<string>? filters = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(group);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxRecords, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(maxRecords, 1_000);
        var waitMs = (ulong)Math.Clamp((wait ?? TimeSpan.FromSeconds(1)).TotalMilliseconds, 100, 60_000);
        var request = new Wire.FetchRequest
        {
            Group = group,
            Consumer = _options.ClientName,
            MaxRecords = (uint)maxRecords,
            WaitMs = waitMs,
        };
        request.Filters.AddRange(filters ?? []);
        var response = await MeasureAsync("fetch", "receive", CallAnyAsync(
            $"Fetching for group '{group}'",
            (c, o) => c.Messages.FetchAsync(
                request, o.WithDeadline(o.Deadline!.Value + TimeSpan.FromMilliseconds(waitMs))),
            cancellationToken));
        var records = response.Deliveries.SelectMany(delivery => GroupRecord.Of(delivery, this)).ToList();
        _metrics.Consumed(records.Count, group);
        return records;
    }

    /// <summary>
    /// Settles records by what names their deliveries, whatever consumer they came to: for who has kept it.
    /// </summary>
    /// <param name="settlements">What is to become of which.</param>
    /// <param name="cancellationToken">Ends the waiting; they may be settled all the same.</param>
    /// <returns>For each, as <see cref="GroupRecord.AckAsync"/>.</returns>
    /// <exception cref="BrokerClientException">As GroupRecord.AckAsync, of any of them.</exception>
    public async ValueTask<IReadOnlyList<bool>> SettleAsync(
        IEnumerable<GroupSettlement> settlements, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(settlements);
        ObjectDisposedException.ThrowIf(_isClosing, this);
        return await Task.WhenAll(settlements.Select(
            each => Settling.SettleAsync(each.ToQueue(), cancellationToken).AsTask()));
    }

    private async Task<TResponse> MeasureAsync<TResponse>(string operation, string type, Task<TResponse> call)
    {
        var begun = _time.GetTimestamp();
        BrokerClientErrorCode? error = null;
        try
        {
            return await call;
        }
        catch (BrokerClientException failure)
        {
            error = failure.Code;
            throw;
        }
        finally
        {
            _metrics.Called(operation, type, _time.GetElapsedTime(begun), error);
        }
    }
}
