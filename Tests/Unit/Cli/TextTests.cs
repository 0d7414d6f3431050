using System.Text;
using Broker.Cli.Text;
using Broker.Client;
using Xunit;

namespace Broker.Tests.Unit.Cli;

public sealed class TextTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("500ms", 500)]
    [InlineData("1.5s", 1_500)]
    [InlineData("1h30m", 5_400_000)]
    [InlineData("7d", 604_800_000)]
    public void Durations_are_read(string text, double milliseconds) =>
        Assert.Equal(milliseconds, Durations.Parse(text).TotalMilliseconds);

    [Theory]
    [InlineData("")]
    [InlineData("5")]
    [InlineData("-5s")]
    [InlineData("5 s")]
    [InlineData("s")]
    [InlineData("999999999999999d")]
    [InlineData("999999999999999d999999999999999d")]
    public void What_is_no_duration_is_refused(string text) =>
        Assert.Contains(
            "expected a duration as 500ms",
            Assert.Throws<FormatException>(() => Durations.Parse(text)).Message,
            StringComparison.Ordinal);

    [Theory]
    [InlineData(0, "0ms")]
    [InlineData(1_250, "1.25s")]
    [InlineData(200_000, "3m20s")]
    [InlineData(100_800_000, "1d4h")]
    [InlineData(-1_000, "-1s")]
    public void Durations_are_written(double milliseconds, string text) =>
        Assert.Equal(text, Durations.Format(TimeSpan.FromMilliseconds(milliseconds)));

    [Theory]
    [InlineData("1000", 1_000, "1000 B")]
    [InlineData("64KiB", 65_536, "64 KiB")]
    [InlineData("1.5GiB", 1_610_612_736, "1.5 GiB")]
    [InlineData("10MB", 10_000_000, "9.54 MiB")]
    public void Sizes_are_read_and_written(string text, long bytes, string written)
    {
        Assert.Equal(bytes, Sizes.Parse(text));
        Assert.Equal(written, Sizes.Format(bytes));
    }

    [Theory]
    [InlineData("")]
    [InlineData("KiB")]
    [InlineData("-1")]
    [InlineData("1PiB")]
    [InlineData("99999999999TiB")]
    public void What_is_no_size_is_refused(string text) => Assert.Throws<FormatException>(() => Sizes.Parse(text));

    [Fact]
    public void A_record_written_as_JSON_is_read_as_the_message_that_it_was()
    {
        var record = new BrokerRecord
        {
            Topic = "a",
            Partition = 3,
            Offset = 7,
            Timestamp = DateTimeOffset.UnixEpoch,
            Key = new byte[] { 0xfe },
            Value = "tab\t, line\n, {\"json\": \"ö\"}"u8.ToArray(),
            Headers = [Header("a", "1"), Header("b", "2"), Header("a", "3")],
            TimeToLive = TimeSpan.FromSeconds(5),
            Priority = 9,
        };

        var message = RecordText.FromJson(RecordText.ToJson(record).ToJsonString());

        Assert.Equal(record.Key.ToArray(), message.Key.ToArray());
        Assert.Equal(record.Value.ToArray(), message.Value.ToArray());
        Assert.Equal((record.TimeToLive, record.Priority), (message.TimeToLive, message.Priority));
        Assert.Equal(
            ["a=1", "a=3", "b=2"],
            message.Headers!.Select(static header => $"{header.Key}={Encoding.UTF8.GetString(header.Value.Span)}"));
    }

    [Theory]
    [InlineData("""{"value":{"a":[1,2]}}""", """{"a":[1,2]}""")]
    [InlineData("""{"value":null}""", "null")]
    [InlineData("""{"value":12.50}""", "12.50")]
    public void A_value_that_is_no_text_is_published_as_JSON(string line, string value) =>
        Assert.Equal(value, Encoding.UTF8.GetString(RecordText.FromJson(line).Value.Span));

    [Theory]
    [InlineData("", "no JSON")]
    [InlineData("[1]", "expected an object")]
    [InlineData("""{"valeu":1}""", "it has 'valeu'")]
    [InlineData("""{"key":1}""", "its key is no text")]
    [InlineData("""{"value_base64":"!"}""", "its value_base64 is no base64")]
    [InlineData("""{"headers":[]}""", "its headers are no object")]
    [InlineData("""{"ttl_ms":-1}""", "its ttl_ms is no whole number")]
    public void What_is_no_message_is_refused(string line, string words) => Assert.Contains(
        words,
        Assert.Throws<FormatException>(() => RecordText.FromJson(line)).Message,
        StringComparison.Ordinal);

    [Fact]
    public void A_value_in_a_line_cannot_break_the_line() =>
        Assert.Equal("a\\tb\\nc\\x1b[0m", Output.OneLine("a\tb\nc\x1b[0m"));

    private static KeyValuePair<string, ReadOnlyMemory<byte>> Header(string name, string value) =>
        new(name, Encoding.UTF8.GetBytes(value));
}
