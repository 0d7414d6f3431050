using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Xunit;

namespace Broker.Tests.Unit.ServiceDefaults;

public sealed class EnvFileTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("env-").FullName;
    private readonly string _variable = $"EnvFileTests_{Guid.NewGuid():N}";

    public void Dispose()
    {
        Environment.SetEnvironmentVariable(_variable, null);
        Directory.Delete(_root, recursive: true);
    }

    [Fact]
    public void Settings_come_from_the_nearest_file_upward()
    {
        Write(".env", "Broker__NodeName=far\nOther=far");
        Write("src/.env", "# a comment\nexport Broker__NodeName=\"broker 7\"\nQuoted='single # quoted'");

        var configuration = Load("src/service");
        Assert.Equal("broker 7", configuration["Broker:NodeName"]);
        Assert.Equal("single # quoted", configuration["Quoted"]);
        Assert.Null(configuration["Other"]);
    }

    [Fact]
    public void The_environment_wins_over_the_file_and_the_file_over_appsettings()
    {
        Environment.SetEnvironmentVariable(_variable, "environment");
        Write(".env", $"{_variable}=file\nLevel=file");
        Write("appsettings.json", "{ \"Level\": \"json\", \"Only\": \"json\" }");

        var configuration = Load("");
        Assert.Equal("environment", configuration[_variable]);
        Assert.Equal("file", configuration["Level"]);
        Assert.Equal("json", configuration["Only"]);
    }

    [Fact]
    public void The_command_line_wins_over_the_file()
    {
        Write(".env", "Level=file");

        Assert.Equal("arguments", Load("", "--Level=arguments")["Level"]);
    }

    [Fact]
    public void The_environment_of_the_process_stays_as_it_is()
    {
        Write(".env", $"{_variable}=file");

        Assert.Equal("file", Load("")[_variable]);
        Assert.Null(Environment.GetEnvironmentVariable(_variable));
    }

    [Fact]
    public void Addresses_may_stand_in_the_file()
    {
        Write(".env", "ASPNETCORE_URLS=http://localhost:4321");

        Assert.Equal("http://localhost:4321", Load("")["urls"]);
    }

    [Fact]
    public void Without_a_file_the_log_levels_have_their_defaults()
    {
        Assert.Equal("Information", Load("")["Logging:LogLevel:Default"]);
    }

    private ConfigurationManager Load(string folder, params string[] arguments)
    {
        var root = Directory.CreateDirectory(Path.Combine(_root, folder)).FullName;
        var builder = WebApplication.CreateBuilder(
            new WebApplicationOptions { ContentRootPath = root, Args = arguments });
        builder.AddServiceDefaults();
        return builder.Configuration;
    }

    private void Write(string path, string text)
    {
        var full = Path.Combine(_root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllText(full, text);
    }
}
