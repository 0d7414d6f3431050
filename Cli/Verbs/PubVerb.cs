using System.CommandLine;
using System.Text;
using Broker.Cli.Text;
using Broker.Client;

namespace Broker.Cli.Verbs;

/// <summary>Publishes: one message from the command line, a file or standard input, or many, a line each.</summary>
internal static class PubVerb
{
    /// <summary>Publishes that wait for their answers at a time.</summary>
    private const int Window = 4_096;

    private static readonly Argument<string> Topic = Verb.Name("topic", "Where to.");

    private static readonly Argument<string?> Value = new("message")
    {
        Description = "The message. Without it: standard input as it is, or what --file, --lines or --ndjson say.",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Option<string?> File = Verb.Text("--file", "A file that is the message.", "path");

    private static readonly Option<bool> Lines = Verb.Flag("--lines", "Each line of standard input is a message.");

    private static readonly Option<bool> Ndjson = Verb.Flag(
        "--ndjson",
        "Each line of standard input is a message as JSON: key, value, headers, ttl_ms, deliver_at, priority; "
        + "key_base64 and value_base64 for what is no text. It is what 'read -o json' prints.");

    private static readonly Option<string?> Key = Verb.Text("--key", "Its key, which decides the partition.");

    private static readonly Option<string[]> Headers = new("--header", "-H")
    {
        Description = "A header; several by several options.",
        HelpName = "name:value",
        DefaultValueFactory = _ => [],
    };

    private static readonly Option<TimeSpan?> TimeToLive = Values.Duration(
        "--ttl", "For how long consumer groups deliver it.");

    private static readonly Option<TimeSpan?> Delay = Values.Duration(
        "--delay", "Consumer groups get it so much later; reads get it at once.");

    private static readonly Option<long?> Priority = Values.Number("--priority", "From 0 to 9. Default: 0.", 0, 9);

    private static readonly Option<long?> Partition = Values.Number(
        "--partition", "The partition, from 0. Default: that of the key.", 0, 999);

    private static readonly Option<long?> Count = Values.Number(
        "--count", "Publishes the message so many times. Default: 1.", 1);

    public static Command Create() => Verb.Make(
        "pub",
        Verb.WithExamples(
            "Publishes messages. It is done when all are on the disks of a majority of the brokers.",
            "broker pub orders.eu.created 'hello' --key 42 -H kind:new",
            "broker pub orders.eu.created --file order.json",
            "tail -F app.log | broker pub logs --lines",
            "broker read orders -o json | broker pub orders.copy --ndjson"),
        [Topic, Value, File, Lines, Ndjson, Key, Headers, TimeToLive, Delay, Priority, Partition, Count],
        RunAsync);

    private static async Task RunAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var topic = parsed.GetRequiredValue(Topic);
        var (lines, ndjson) = (parsed.GetValue(Lines), parsed.GetValue(Ndjson));
        var sources = (parsed.GetValue(Value) is null ? 0 : 1) + (parsed.GetValue(File) is null ? 0 : 1)
            + (lines ? 1 : 0) + (ndjson ? 1 : 0);
        if (sources > 1)
        {
            throw new UsageException("A message comes from one place: the argument, --file, --lines or --ndjson.");
        }

        if (ndjson && new Option[] { Key, Headers, TimeToLive, Delay, Priority }.Any(
            option => parsed.GetResult(option) is { Implicit: false }))
        {
            throw new UsageException("With --ndjson key, headers, ttl_ms, deliver_at and priority stand in each line.");
        }

        var publishing = new Publishing(session, topic);
        if (lines || ndjson)
        {
            await PublishLinesAsync(publishing, parsed, ndjson, cancellationToken);
            return;
        }

        var message = MessageOf(parsed, await ReadValueAsync(parsed, cancellationToken));
        var count = parsed.GetValue(Count) ?? 1;
        for (var i = 0L; i < count; i++)
        {
            await publishing.AddAsync(message, cancellationToken);
        }

        await publishing.EndAsync();
    }

    private static async Task PublishLinesAsync(
        Publishing publishing, ParseResult parsed, bool ndjson, CancellationToken cancellationToken)
    {
        using var input = new StreamReader(Console.OpenStandardInput(), Encoding.UTF8);
        for (var number = 1; await input.ReadLineAsync(cancellationToken) is { } line; number++)
        {
            if (ndjson && string.IsNullOrWhiteSpace(line))
            {
                continue;
            }

            BrokerMessage message;
            try
            {
                message = ndjson
                    ? RecordText.FromJson(line) with { Partition = (int?)parsed.GetValue(Partition) }
                    : MessageOf(parsed, Encoding.UTF8.GetBytes(line));
            }
            catch (FormatException e)
            {
                await publishing.EndAsync();
                throw new UsageException($"Line {number} is no message: {e.Message}. Those before it are published.");
            }

            await publishing.AddAsync(message, cancellationToken);
        }

        await publishing.EndAsync();
    }

    private static async Task<ReadOnlyMemory<byte>> ReadValueAsync(
        ParseResult parsed, CancellationToken cancellationToken)
    {
        if (parsed.GetValue(Value) is { } text)
        {
            return Encoding.UTF8.GetBytes(text);
        }

        if (parsed.GetValue(File) is { } file)
        {
            var length = new FileInfo(file).Length;
            return length <= MessageLimits.ValueBytes
                ? await System.IO.File.ReadAllBytesAsync(file, cancellationToken)
                : throw TooLarge($"{file} has {length:N0} bytes");
        }

        if (!Console.IsInputRedirected)
        {
            throw new UsageException("There is no message: give it as the last argument, or by --file, or by a pipe.");
        }

        // One byte more than fits tells that there is more.
        var buffer = new byte[MessageLimits.ValueBytes + 1];
        await using var input = Console.OpenStandardInput();
        var read = await input.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken);
        return read < buffer.Length
            ? buffer.AsMemory(0, read)
            : throw TooLarge("Standard input has more bytes");
    }

    private static UsageException TooLarge(string what) => new(
        $"{what}; a message has {MessageLimits.ValueBytes:N0} at most. With --lines each line is a message.");

    private static BrokerMessage MessageOf(ParseResult parsed, ReadOnlyMemory<byte> value) => new()
    {
        Value = value,
        Key = Encoding.UTF8.GetBytes(parsed.GetValue(Key) ?? ""),
        Headers = [.. parsed.GetValue(Headers)!.Select(HeaderOf)],
        TimeToLive = parsed.GetValue(TimeToLive),
        DeliverAt = parsed.GetValue(Delay) is { } delay ? Session.Clock.GetUtcNow() + delay : null,
        Priority = (int)(parsed.GetValue(Priority) ?? 0),
        Partition = (int?)parsed.GetValue(Partition),
    };

    private static KeyValuePair<string, ReadOnlyMemory<byte>> HeaderOf(string text)
    {
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        return colon > 0
            ? new(text[..colon].Trim(), Encoding.UTF8.GetBytes(text[(colon + 1)..].Trim()))
            : throw new UsageException($"--header is '{text}'; expected name:value.");
    }

    /// <summary>Publishes that are under way, in their order; what they came to is told at the end.</summary>
    private sealed class Publishing(Session session, string topic)
    {
        private readonly Queue<Task<PublishAck>> _waiting = new();
        private long _stored;
        private PublishAck _last;

        public async Task AddAsync(BrokerMessage message, CancellationToken cancellationToken)
        {
            if (_waiting.Count == Window)
            {
                await TakeAsync();
            }

            _waiting.Enqueue(session.Client.PublishAsync(topic, message, cancellationToken).AsTask());
        }

        public async Task EndAsync()
        {
            while (_waiting.Count > 0)
            {
                await TakeAsync();
            }

            Tell();
        }

        private async Task TakeAsync()
        {
            try
            {
                _last = await _waiting.Dequeue();
                _stored++;
            }
            catch (BrokerClientException error)
            {
                // The others may have got there: only what was answered is called stored.
                foreach (var other in _waiting)
                {
                    await ((Task)other).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                    _stored += other.IsCompletedSuccessfully ? 1 : 0;
                }

                _waiting.Clear();
                throw new BrokerClientException(
                    _stored == 0 ? error.Message : $"{_stored:N0} messages are stored. Then: {error.Message}",
                    error.Code,
                    error,
                    error.Reason);
            }
        }

        private void Tell()
        {
            if (_stored == 1)
            {
                var place = _last.Partition > 0 ? $"partition {_last.Partition}, offset" : "offset";
                session.Output.Done(
                    $"Stored in '{topic}' at {place} {_last.Offset}.",
                    ("topic", topic),
                    ("partition", _last.Partition),
                    ("offset", _last.Offset));
            }
            else
            {
                session.Output.Done(
                    $"Stored {_stored:N0} messages in '{topic}'.",
                    ("topic", topic),
                    ("stored", _stored));
            }
        }
    }
}
